//! Whether every leg gets its frame on time: the real programs under a real load, beside an echo
//! that does nothing else: idle, while the translator does not move at all (the link is stalled),
//! and while no vendor answers (the worker pool is stalled, in the same process as the tiles).
//!
//! `cargo bench --bench frame_jitter -- --seconds 60 --legs 2,500` measures longer and otherwise.
//! Each row is a run that is *acceptable* for judging timing, after a few tries at most; missing
//! and doubled frames are those of all tries.
//! What the control shows is the machine's and the load's: `above` is what a program adds at p99.9.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, ExitCode};
use std::thread;

use support::load::{self, Circumstances, Load, LoadReport};
use support::{Arguments, Mode, Program, Table};

mod support;

/// A pair, and up to what two shared cores are asked to carry.
const LEGS: [usize; 4] = [2, 100, 500, 1000];
/// The extensions of a configuration with nothing in it.
const EXTENSIONS: [&str; 2] = ["7777", "8888"];
/// Runs for one row until one is acceptable; the counts of all of them are told.
const RUNS_MAX: usize = 2;
/// What legs speak and hear; the load's default is the same.
const CODEC: &str = "ulaw";

const HEADINGS: [&str; 15] = [
    "legs",
    "program",
    "missing",
    "doubled",
    "dev p50",
    "p99",
    "p99.9",
    "above",
    "max ms",
    "heard %",
    "m2e p50",
    "p99 ms",
    "cpu µs",
    "tiles µs",
    "acceptable",
];

fn main() -> ExitCode {
    support::main("frame_jitter", &LEGS, bench)
}

fn bench(arguments: &Arguments) {
    if arguments.mode == Mode::Test && !load::is_built() {
        println!("skipped: rtp-blaster is not built: cargo build --workspace --bins");
        return;
    }
    let circumstances = Circumstances::arrange(arguments.mode);
    let mut table = Table::new(&HEADINGS);
    for legs in &arguments.legs {
        let mut echo_us = 0;
        for program in Under::ALL {
            eprintln!("{legs} legs, {}, {} s", program.name(), arguments.seconds);
            let outcome = Outcome::of(arguments.mode, || {
                measure(arguments, &circumstances, *legs, program)
            });
            let p99_9_us = outcome.report.deviation.p99_9_us;
            if program == Under::Echo {
                echo_us = p99_9_us;
            }
            let above_ms = (p99_9_us as f64 - echo_us as f64) / 1e3;
            let heard = outcome.report.heard_percent(arguments.mode, *legs);
            table.add(row(*legs, program, &outcome, [above_ms, heard]));
        }
    }
    table.publish(
        arguments.mode,
        "frame_jitter",
        "missing and doubled frames; deviation of the time between two packets from 20 ms, and how \
         far its p99.9 is above the echo's;\nmouth to ear (m2e) of the markers that came; CPU per \
         leg-frame of the whole process and of its tiles",
    );
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Under {
    /// The control.
    Echo,
    /// Gateway and translator in one process.
    Run,
    /// The gateway, its translator in a process of its own.
    Gateway,
    /// The same, the translator stopped when the measured time begins.
    LinkStalled,
    /// Gateway and translator in one process, with vendors that take requests and never answer.
    WorkersStalled,
}

impl Under {
    const ALL: [Self; 5] = [
        Self::Echo,
        Self::Run,
        Self::Gateway,
        Self::LinkStalled,
        Self::WorkersStalled,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo control",
            Self::Gateway => "gateway",
            Self::LinkStalled => "gateway, translator stopped",
            Self::Run => "run",
            Self::WorkersStalled => "run, vendors mute",
        }
    }
}

/// A run whose timing can be judged, if there was one among a few; the counts of all of them.
struct Outcome {
    report: LoadReport,
    runs_dropped: usize,
    frames_missing: u64,
    frames_doubled: u64,
}

impl Outcome {
    fn of(mode: Mode, measure: impl Fn() -> LoadReport) -> Self {
        let (mut runs_dropped, mut frames_missing, mut frames_doubled) = (0, 0, 0);
        loop {
            let report = measure();
            let downlink = &report.downlink;
            assert!(downlink.frames > 0, "nobody heard anything");
            frames_missing += downlink.frames_missing;
            frames_doubled += downlink.frames_doubled;
            if report.acceptable || mode == Mode::Test || runs_dropped + 1 == RUNS_MAX {
                return Self {
                    report,
                    runs_dropped,
                    frames_missing,
                    frames_doubled,
                };
            }
            runs_dropped += 1;
        }
    }
}

fn measure(
    arguments: &Arguments,
    circumstances: &Circumstances,
    legs: usize,
    under: Under,
) -> LoadReport {
    let (program, to, translator) = match under {
        Under::Echo => {
            let (echo, to) = circumstances.echo();
            (echo, to, None)
        }
        Under::Run => {
            let options = [("translator.listen", "127.0.0.1:0"), LOOP];
            let (run, to) = gateway("run", legs, &options);
            (run, to, None)
        }
        Under::WorkersStalled => {
            let vendors = MuteServer::start();
            let (run, to) = gateway("run", legs, &vendors.settings(legs).each_ref().map(as_pair));
            (run, to, None)
        }
        Under::Gateway | Under::LinkStalled => {
            let (translator, url) = translator();
            let (gateway, to) = gateway("gateway", legs, &[("link.url", &url)]);
            (gateway, to, Some(translator))
        }
    };
    let load = Load {
        mode: arguments.mode,
        to: &to,
        legs,
        seconds: arguments.seconds,
        hears: if under == Under::Echo {
            "self"
        } else {
            "partner"
        },
        cpu_of: program.pid(),
    };
    load.run(circumstances, || {
        if let (Under::LinkStalled, Some(translator)) = (under, &translator) {
            translator.freeze();
        }
    })
}

/// What each speaker says comes back as its own translation.
const LOOP: (&str, &str) = ("translator.engine", "loop");

/// A vendor that takes every connection, reads nothing and never answers; until the process ends.
struct MuteServer {
    address: SocketAddr,
}

impl MuteServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("just bound");
        thread::spawn(move || {
            let taken: Vec<_> = listener.incoming().collect();
            drop(taken);
        });
        Self { address }
    }

    fn settings(&self, legs: usize) -> [(&'static str, String); 8] {
        let at = |scheme: &str| format!("{scheme}://{}", self.address);
        [
            ("translator.listen", "127.0.0.1:0".into()),
            ("translator.engine", "vendors".into()),
            ("translator.recognizers_max", legs.to_string()),
            ("deepgram.url", at("ws")),
            ("deepl.url", at("http")),
            ("elevenlabs.url", at("http")),
            ("elevenlabs.voices.en", "nobody".into()),
            ("elevenlabs.voices.fr", "nobody".into()),
        ]
    }
}

fn as_pair<'a>((key, value): &'a (&'static str, String)) -> (&'a str, &'a str) {
    (key, value)
}

fn translator() -> (Program, String) {
    let mut command = diglot("translator");
    set(&mut command, &[("translator.listen", "127.0.0.1:0"), LOOP]);
    let translator = Program::start(&mut command);
    let address = translator.wait_for("translator listens on ");
    let address = address.split(',').next().unwrap_or_default();
    let url = format!("ws://{address}/translate");
    (translator.no_longer_heard(), url)
}

/// A gateway without an Asterisk, or one with its translator, and its RTP ports.
fn gateway(command: &str, legs: usize, options: &[(&str, &str)]) -> (Program, Vec<SocketAddr>) {
    let mut command = diglot(command);
    set(&mut command, options);
    set(
        &mut command,
        &[
            ("asterisk.control", "none"),
            ("realtime.legs_max", &legs.to_string()),
        ],
    );
    for extension in EXTENSIONS {
        for (key, value) in [
            ("listen", "127.0.0.1:0"),
            ("uplink", CODEC),
            ("downlink", CODEC),
        ] {
            let key = format!("extension.{extension}.{key}");
            set(&mut command, &[(&key, value)]);
        }
    }
    let gateway = Program::start(&mut command);
    let to = EXTENSIONS.map(|_| {
        let address = gateway.wait_for("; RTP on ");
        address.parse().expect("an address ends the line")
    });
    (gateway.no_longer_heard(), to.to_vec())
}

fn diglot(command: &str) -> Command {
    let mut started = Command::new(env!("CARGO_BIN_EXE_diglot"));
    started.arg(command);
    for key in ["DEEPGRAM_API_KEY", "DEEPL_API_KEY", "ELEVENLABS_API_KEY"] {
        started.env(key, "none-of-anyone");
    }
    started
}

fn set(command: &mut Command, options: &[(&str, &str)]) {
    for (key, value) in options {
        command.arg("--set").arg(format!("{key}={value}"));
    }
}

fn row(legs: usize, under: Under, outcome: &Outcome, [above_ms, heard]: [f64; 2]) -> Vec<String> {
    let report = &outcome.report;
    let ms = |us: u64| format!("{:.2}", us as f64 / 1e3);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let cost = |us: Option<f64>| or_none(us.map(|us| format!("{us:.1}")));
    let deviation = report.deviation;
    let dropped = match outcome.runs_dropped {
        0 => String::new(),
        runs => format!(" ({runs} dropped before)"),
    };
    let mouth_to_ear = report.mouth_to_ear_us();
    vec![
        legs.to_string(),
        under.name().into(),
        outcome.frames_missing.to_string(),
        outcome.frames_doubled.to_string(),
        ms(deviation.p50_us),
        ms(deviation.p99_us),
        ms(deviation.p99_9_us),
        format!("{above_ms:+.2}"),
        ms(deviation.max_us),
        format!("{heard:.0}"),
        or_none(mouth_to_ear.map(|(p50, _)| ms(p50))),
        or_none(mouth_to_ear.map(|(_, p99)| ms(p99))),
        cost(report.cpu_us()),
        cost(report.cpu_of_threads_us(is_tile)),
        if report.acceptable {
            format!("yes{dropped}")
        } else {
            let reasons = report.not_acceptable_because.join("; ");
            format!("no: {reasons}{dropped}")
        },
    ]
}

/// Tiles are threads named rx and tx, with a number where there are several.
fn is_tile(thread: &str) -> bool {
    let name = thread.trim_end_matches(|character: char| !character.is_alphabetic());
    ["rx", "tx"].contains(&name)
}
