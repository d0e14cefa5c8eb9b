//! One program under test: started, read line by line, ended by its own pid.
//!
//! ```text
//! child: stdout, stderr ─▶ two reader threads ─▶ lines ─▶ wait_for_line (deadline)
//! ```
//! If a test fails, each of its programs prints its last lines.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What a failing test shows of each program.
const TAIL_LINES: usize = 60;
/// A program that has not ended so long after SIGTERM hangs.
const END_WAIT: Duration = Duration::from_secs(10);
/// How often a condition that announces itself to nobody is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A running program; dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    streams_ended: usize,
}

/// stdout and stderr.
const STREAMS: usize = 2;

impl Process {
    /// Starts it with both outputs read and stdin piped.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        let output = Arc::new(Output::default());
        read_lines(child.stdout.take().unwrap(), Arc::clone(&output));
        read_lines(child.stderr.take().unwrap(), Arc::clone(&output));
        Self {
            name: name.to_owned(),
            child,
            output,
        }
    }

    /// Waits until a line holds `part`, and returns it. Lines of the past count too.
    ///
    /// # Panics
    /// When the deadline passes, or the program ends, before there is one.
    pub fn wait_for_line(&self, part: &str, patience: Duration) -> String {
        self.wait_for_lines(part, 1, patience).remove(0)
    }

    /// Waits until so many lines hold `part`, and returns all that do.
    ///
    /// # Panics
    /// As [`Process::wait_for_line`].
    pub fn wait_for_lines(&self, part: &str, count: usize, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        let mut state = self.output.state.lock().unwrap();
        loop {
            let found: Vec<_> = state
                .lines
                .iter()
                .filter(|line| line.contains(part))
                .cloned()
                .collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let has_ended = state.streams_ended == STREAMS;
            if left.is_zero() || has_ended {
                let number = found.len();
                drop(state);
                let why = if has_ended { "it ended" } else { "no more" };
                panic!(
                    "{}: {number} of {count} lines with {part:?} within {patience:?}, {why}",
                    self.name
                );
            }
            state = self.output.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Everything printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.state.lock().unwrap().lines.clone()
    }

    /// Writes one line to its stdin.
    ///
    /// # Panics
    /// When it does not read.
    pub fn tell(&mut self, line: &str) {
        use std::io::Write;
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it still runs at the deadline.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        self.try_wait(patience)
            .unwrap_or_else(|| panic!("{}: still running after {patience:?}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Panics
    /// When it does not.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(END_WAIT)
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    fn signal(&self, signal: Signal) {
        // Not yet waited for, so the pid is still this child's.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    fn try_wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let child = &mut self.child;
        let mut status = None;
        poll_until(patience, || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
            if self.try_wait(END_WAIT).is_none() {
                self.kill();
            }
        }
        if thread::panicking() {
            let lines = self.lines();
            let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            eprintln!("--- {}, last lines:\n{}", self.name, tail.join("\n"));
        }
    }
}

/// Looks until the condition holds or time is up, and says whether it did. For what tells nobody
/// that it has changed, such as Asterisk's count of channels.
pub fn poll_until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

fn read_lines(stream: impl Read + Send + 'static, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            output.state.lock().unwrap().lines.push(line);
            output.changed.notify_all();
        }
        output.state.lock().unwrap().streams_ended += 1;
        output.changed.notify_all();
    });
}
