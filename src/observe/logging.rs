//! The process's log: nobody who writes a line waits for whoever reads it.
//!
//! ```text
//! any thread ─line▷ bounded queue ─▶ "log-writer" thread ─▶ stderr
//! ```
//! A line that does not fit is dropped and counted, and the next one that is written tells how many
//! were. Lines hold words from the network (captions, call ids, a vendor's complaints): control
//! characters are escaped here, once for all, so that none of them can forge a line or reach a
//! terminal. Costs one small allocation per line; tiles do not log.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::topology::thread_name;

/// Lines that wait for the writer: seconds of talk on 500 legs, 2 MB at most in practice.
const LINES_MAX: usize = 16 * 1024;

/// Bytes of the longest line, escapes not counted; the rest is cut off.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Longest wait for the last lines when the process ends.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// The queue of the installed log.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Makes this the log of the process, for panics too: `RUST_LOG` decides what is written, `info`
/// without it.
///
/// # Errors
/// The thread cannot be made.
pub fn install() -> io::Result<()> {
    let queue = Queue::to(io::stderr())?;
    let queue = QUEUE.get_or_init(|| queue).clone();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        // It writes whole requests at trace level, passwords included.
        .filter_module("tungstenite", log::LevelFilter::Debug)
        .format_timestamp_millis()
        .format_indent(None)
        .target(env_logger::Target::Pipe(Box::new(queue)))
        .init();
    // The usual hook writes to stderr itself, and would wait for its reader before a tile's panic
    // can end the process.
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        log::error!("{}: {panic}", thread.name().unwrap_or("a thread"));
    }));
    Ok(())
}

/// Waits until everything logged so far is written, half a second at most.
pub fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.drain();
    }
}

enum Entry {
    Line(String),
    /// Everything before this is written once its sender is dropped.
    Mark(Sender<()>),
}

#[derive(Clone, Debug)]
struct Queue {
    entries: Sender<Entry>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (entries, inbox) = bounded(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let lost_there = Arc::clone(&lost);
        thread::Builder::new()
            .name(thread_name::LOG_WRITER.into())
            .spawn(move || write_lines(&inbox, &lost_there, sink))?;
        Ok(Self { entries, lost })
    }

    fn drain(&self) {
        let (mark, is_passed) = bounded::<()>(0);
        if self
            .entries
            .send_timeout(Entry::Mark(mark), FLUSH_WAIT)
            .is_ok()
        {
            // Nothing is ever sent: it ends with the mark's drop, or with our patience.
            let _ = is_passed.recv_timeout(FLUSH_WAIT);
        }
    }
}

/// One call per record: that is how env_logger writes to a pipe.
impl Write for Queue {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        match self.entries.try_send(Entry::Line(one_line(record))) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends when nobody can log any more. A reader that is gone takes nothing, which is its own loss.
fn write_lines(inbox: &Receiver<Entry>, lost: &AtomicU64, mut sink: impl Write) {
    for entry in inbox {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::Mark(passed) => {
                drop(passed);
                continue;
            }
        };
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                sink,
                "log_line_lost_total (+{lost}): the log is read too slowly"
            );
        }
        let _ = sink.write_all(line.as_bytes());
    }
}

/// The record as exactly one line.
fn one_line(record: &[u8]) -> String {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    let record = &record[..record.len().min(LINE_BYTES_MAX)];
    let text = String::from_utf8_lossy(record);
    let mut line = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        if char.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", char.escape_default());
        } else {
            line.push(char);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A reader that takes each piece only when the test does.
    struct Slow(Sender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Goal: nobody waits for a reader that does not read, and what was lost is told.
    /// Method: more lines than fit are written while nothing is read; then everything is read.
    #[test]
    fn a_reader_that_blocks_costs_lines_and_no_time() {
        let (sink, read) = bounded(0);
        let mut queue = Queue::to(Slow(sink)).unwrap();
        for number in 0..2 * LINES_MAX {
            queue
                .write_all(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        let first = read.recv_timeout(PATIENCE).unwrap();
        assert_eq!(first, "line 0\n");
        let told = std::iter::from_fn(|| read.recv_timeout(PATIENCE).ok())
            .take(LINES_MAX)
            .any(|piece| piece.contains("log_line_lost_total"));
        assert!(told, "what was lost is told");
    }

    /// Goal: what came from the network can neither begin a line nor command a terminal.
    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let line = one_line("said: oui\n[ERROR] forged\r\u{1b}[2J\u{9b}1m é\n".as_bytes());
        assert_eq!(line, "said: oui\\n[ERROR] forged\\r\\u{1b}[2J\\u{9b}1m é\n");
        assert_eq!(
            one_line(&[b'a'; 3 * LINE_BYTES_MAX]).len(),
            LINE_BYTES_MAX + 1
        );
        assert_eq!(one_line(b"\xff\n"), "\u{fffd}\n");
    }
}
