//! What the benches of whole programs share: arguments, programs with their output, a table.
//!
//! Ends only what it started. Judges no figure: a bench prints, people and later runs compare.
#![allow(dead_code, reason = "each bench uses its part")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) mod load;
pub(crate) mod times;

/// What starting a program may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);
/// Below this a table's column is no narrower, so that short runs look alike.
const COLUMN_CHARS_MIN: usize = 6;

/// How a bench was called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// `cargo bench`: long enough to mean something.
    Measure,
    /// `cargo test`: once and short, to see that it works.
    Test,
}

/// What a bench was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) mode: Mode,
    /// Legs of each row of the table.
    pub(crate) legs: Vec<usize>,
    /// The measured time of each row.
    pub(crate) seconds: f64,
}

/// Runs a bench with what its command line asks for; `measured` are the legs it measures otherwise.
///
/// As with criterion, `--bench` (which `cargo bench` passes) means to measure, and everything else
/// is a test run; a name that is not this bench's, `--list` and `--ignored` make it an empty one.
pub(crate) fn main(name: &str, measured: &[usize], bench: impl FnOnce(&Arguments)) -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let is = |option: &str| given.iter().any(|argument| argument == option);
    if is("--bench") {
        raise_descriptor_limit();
        match measurement(&given, measured) {
            Ok(arguments) => bench(&arguments),
            Err(problem) => {
                eprintln!("{name}: {problem}; options are --seconds S and --legs N[,N...]");
                return ExitCode::from(2);
            }
        }
        return ExitCode::SUCCESS;
    }
    let is_meant = |argument: &String| argument.starts_with('-') || name.contains(&**argument);
    if !is("--list") && !is("--ignored") && given.iter().all(is_meant) {
        bench(&Arguments {
            mode: Mode::Test,
            legs: vec![2],
            seconds: 1.0,
        });
    }
    ExitCode::SUCCESS
}

/// Lets the programs have as many sockets as they may: two for each leg, where shells allow 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Refused, it shows as legs that are not interpreted.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn measurement(given: &[String], measured: &[usize]) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        mode: Mode::Measure,
        legs: measured.to_vec(),
        seconds: 10.0,
    };
    let mut given = given.iter().filter(|argument| *argument != "--bench");
    while let Some(option) = given.next() {
        let value = given.next().ok_or_else(|| format!("what is {option}"))?;
        let wrong = || format!("{option} {value}: not understood");
        match &**option {
            "--legs" => {
                let legs = value.split(',').map(|each| each.parse().ok());
                arguments.legs = legs.collect::<Option<_>>().ok_or_else(wrong)?;
            }
            "--seconds" => arguments.seconds = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("no option {option}")),
        }
    }
    let is_right = arguments
        .legs
        .iter()
        .all(|legs| *legs >= 2 && legs % 2 == 0)
        && arguments.seconds > 0.0;
    is_right
        .then_some(arguments)
        .ok_or_else(|| "legs come in pairs, and time is more than none".into())
}

/// The machine's CPU time so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineTime {
    all: u64,
    stolen: u64,
}

impl MachineTime {
    /// Columns of the first line of `/proc/stat` that are time, and the one that the hypervisor
    /// gave to others (proc_stat(5)).
    const COLUMNS: usize = 8;
    const COLUMN_STEAL: usize = 7;

    /// Until now; zeros where /proc is not as we know it.
    pub(crate) fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let columns = text.lines().next().unwrap_or_default().split_whitespace();
        let columns: Vec<u64> = columns
            .skip(1)
            .take(Self::COLUMNS)
            .map_while(|column| column.parse().ok())
            .collect();
        Self {
            all: columns.iter().sum(),
            stolen: columns.get(Self::COLUMN_STEAL).copied().unwrap_or(0),
        }
    }

    /// Of all time since, in percent.
    pub(crate) fn steal_percent(self) -> f64 {
        let now = Self::now();
        let all = now.all.saturating_sub(self.all).max(1);
        now.stolen.saturating_sub(self.stolen) as f64 * 100.0 / all as f64
    }
}

/// A program this bench started; it ends with this.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    lines: Option<Receiver<String>>,
}

impl Program {
    /// Starts it with its output read from the beginning on.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        read_lines(child.stdout.take(), sender.clone());
        read_lines(child.stderr.take(), sender);
        Self {
            child,
            lines: Some(lines),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The rest of the next line that holds `part`, after it.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        let deadline = Instant::now() + START_MAX;
        let mut seen = String::new();
        let lines = self.lines.as_ref().expect("asked before listening ends");
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if let Some((_, rest)) = line.split_once(part) {
                return rest.to_owned();
            }
            seen = seen + &line + "\n";
        }
        panic!("never said: {part}\n{seen}");
    }

    /// From now on its output is read and thrown away, so that it never blocks on a full pipe.
    pub(crate) fn no_longer_heard(mut self) -> Self {
        self.lines = None;
        self
    }

    /// Waits for its end and tells whether it went well.
    pub(crate) fn finish(mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Stops it in the middle of whatever it does; dropping it still ends it.
    pub(crate) fn freeze(&self) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("the process of a child that is not waited for yet");
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("our own child");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let stream = BufReader::new(stream.expect("a pipe was asked for"));
    thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            // Nobody listens any more: read on all the same.
            let _ = lines.send(line);
        }
    });
}

/// Rows of text under headings, each column as wide as it must be.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|heading| (*heading).into()).collect()],
        }
    }

    pub(crate) fn add(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.rows[0].len());
        self.rows.push(row);
    }

    /// Prints it; what was measured is left where `tools/bench/table.py` looks for it.
    pub(crate) fn publish(&self, mode: Mode, name: &str, title: &str) {
        println!("\n{name}: {title}");
        self.print();
        if mode == Mode::Test {
            return;
        }
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}.json"));
        let all = serde_json::json!({ "title": title, "rows": self.rows });
        std::fs::write(file, all.to_string()).expect("the build's own folder takes a file");
    }

    fn print(&self) {
        let width = |column: usize| {
            let chars = self.rows.iter().map(|row| row[column].chars().count());
            chars.max().unwrap_or_default().max(COLUMN_CHARS_MIN)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            println!("{}", cells.join("  ").trim_end());
        }
    }
}
