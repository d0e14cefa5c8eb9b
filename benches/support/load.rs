//! `rtp-blaster` for benches: the load, its control, and the circumstances under which its figures
//! mean something.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::{Mode, Program};

/// Above what any program under test asks for.
const PRIORITY: &str = "60";
/// What a phone needs to fill a packet: mouth to ear begins so much before the packet leaves.
const PACKET_US: u64 = 20_000;

/// The CPUs kept awake and the load out of everybody's way, as far as the machine allows it.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// One `SCHED_IDLE` loop on each CPU: a halted virtual CPU wakes late, by milliseconds. They
    /// run when nothing else wants to, are programs of their own, and end with the bench.
    _loops: Vec<Program>,
    fifo: Vec<&'static str>,
}

impl Circumstances {
    /// Says in a line what was refused.
    pub(crate) fn arrange(mode: Mode) -> Self {
        let mut fifo = vec!["chrt", "-f", PRIORITY];
        if mode == Mode::Test || !succeeds(Command::new("chrt").args(["-f", PRIORITY, "true"])) {
            println!("degraded: the load is not SCHED_FIFO and no CPU is kept awake");
            fifo.clear();
        }
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let busy = |cpu: usize| {
            // Ends with us, however we end: it would be noticed by nobody.
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "taskset", "-c", &cpu.to_string()]);
            command.args(["chrt", "-i", "0"]);
            Program::start(command.args(["sh", "-c", "while :; do :; done"]))
        };
        Self {
            _loops: if fifo.is_empty() {
                Vec::new()
            } else {
                (0..cpus).map(busy).collect()
            },
            fifo,
        }
    }

    /// The control: every packet back to where it came from.
    pub(crate) fn echo(&self) -> (Program, Vec<SocketAddr>) {
        let mut command = self.blaster();
        command.args(["echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
        let echo = Program::start(&mut command);
        let addresses = echo.wait_for("listening on ");
        let addresses = addresses
            .split(' ')
            .map(|each| each.parse().expect("an address"));
        let addresses = addresses.collect();
        (echo.no_longer_heard(), addresses)
    }

    fn blaster(&self) -> Command {
        let program = blaster_path();
        assert!(
            program.exists(),
            "{} is not built: run make bench",
            program.display()
        );
        let Some((wrapper, arguments)) = self.fifo.split_first() else {
            return Command::new(program);
        };
        let mut command = Command::new(wrapper);
        command.args(arguments).arg(program);
        command
    }
}

/// Whether there is a load to measure with.
pub(crate) fn is_built() -> bool {
    blaster_path().exists()
}

/// Beside the program under test, where a build of the workspace puts it.
fn blaster_path() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_diglot")).with_file_name("rtp-blaster")
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// What is asked of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) mode: Mode,
    pub(crate) to: &'a [SocketAddr],
    pub(crate) legs: usize,
    pub(crate) seconds: f64,
    /// `self` or `partner`.
    pub(crate) hears: &'a str,
    pub(crate) cpu_of: u32,
}

/// Until the first leg speaks and until figures count, in s.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    ramp: f64,
    warm_up: f64,
    marker_period: f64,
}

impl Beginning {
    fn of(mode: Mode) -> Self {
        match mode {
            Mode::Measure => Self {
                ramp: 1.0,
                warm_up: 2.0,
                marker_period: 2.0,
            },
            Mode::Test => Self {
                ramp: 0.1,
                warm_up: 0.6,
                marker_period: 0.5,
            },
        }
    }
}

impl Load<'_> {
    /// Runs it; `when_measuring` is called once the window has begun.
    pub(crate) fn run(
        &self,
        circumstances: &Circumstances,
        when_measuring: impl FnOnce(),
    ) -> LoadReport {
        let beginning = Beginning::of(self.mode);
        let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("load-{}.json", std::process::id()));
        let mut command = circumstances.blaster();
        command
            .args(["load", "--hears", self.hears, "--json"])
            .arg(&json);
        for to in self.to {
            command.args(["--to", &to.to_string()]);
        }
        for (option, value) in [
            ("--legs", self.legs.to_string()),
            ("--ramp", beginning.ramp.to_string()),
            ("--warm-up", beginning.warm_up.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--markers", beginning.marker_period.to_string()),
            ("--cpu-of", self.cpu_of.to_string()),
        ] {
            command.args([option, &value]);
        }
        let load = Program::start(&mut command).no_longer_heard();
        thread::sleep(Duration::from_secs_f64(beginning.ramp + beginning.warm_up));
        when_measuring();
        assert!(load.finish(), "the load could not do its work: {command:?}");
        let text = std::fs::read_to_string(&json).expect("what the load wrote");
        let _ = std::fs::remove_file(&json);
        serde_json::from_str(&text).expect("the load's report")
    }
}

/// What we read of the load's report.
#[derive(Debug, Deserialize)]
pub(crate) struct LoadReport {
    window_s: f64,
    pub(crate) acceptable: bool,
    pub(crate) not_acceptable_because: Vec<String>,
    pub(crate) downlink: Downlink,
    pub(crate) deviation: Summary,
    markers: Option<Markers>,
    cpu: Vec<Cpu>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Downlink {
    pub(crate) frames: u64,
    pub(crate) frames_missing: u64,
    pub(crate) frames_doubled: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Summary {
    count: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p99_9_us: u64,
    pub(crate) max_us: u64,
}

#[derive(Debug, Deserialize)]
struct Markers {
    heard: u64,
    latency: Summary,
}

#[derive(Debug, Deserialize)]
struct Cpu {
    us_per_leg_frame: Option<f64>,
    threads: Vec<Thread>,
}

#[derive(Debug, Deserialize)]
struct Thread {
    name: String,
    us_per_leg_frame: f64,
}

impl LoadReport {
    /// p50 and p99 in µs, if any marker was heard.
    pub(crate) fn mouth_to_ear_us(&self) -> Option<(u64, u64)> {
        let latency = self.markers.as_ref()?.latency;
        let with_packet = (latency.p50_us + PACKET_US, latency.p99_us + PACKET_US);
        (latency.count > 0).then_some(with_packet)
    }

    /// Of the markers that were said, those that came, in percent: who drops speech is cheap.
    pub(crate) fn heard_percent(&self, mode: Mode, legs: usize) -> f64 {
        let said = legs as f64 * self.window_s / Beginning::of(mode).marker_period;
        let heard = self.markers.as_ref().map_or(0, |markers| markers.heard);
        heard as f64 * 100.0 / said.max(1.0)
    }

    /// CPU of the whole process per leg-frame, in µs.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        self.cpu.first()?.us_per_leg_frame
    }

    /// CPU of the threads that `is_meant` names, in µs; none if there is no such thread.
    pub(crate) fn cpu_of_threads_us(&self, is_meant: impl Fn(&str) -> bool) -> Option<f64> {
        let threads = self.cpu.first()?.threads.iter();
        let meant = threads.filter(|thread| is_meant(&thread.name));
        let costs: Vec<_> = meant.map(|thread| thread.us_per_leg_frame).collect();
        (!costs.is_empty()).then(|| costs.iter().sum())
    }
}
