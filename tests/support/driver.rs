//! Runs the control thread against a fake Asterisk, and collects what the tiles would be told.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, unbounded};
use diglot::asterisk::control::{Control, ControlHandle};
use diglot::call::{CallCount, CallCounts, Change, Input};
use diglot::config::Config;
use diglot_rt::msg::LegId;

use crate::fake_ari::WAIT_MAX;

/// A running control thread.
pub(crate) struct Driver {
    pub(crate) handle: ControlHandle,
    changes: Receiver<Change>,
    counts: Arc<CallCounts>,
    thread: Option<JoinHandle<()>>,
}

impl Driver {
    pub(crate) fn start(config: &Config) -> Self {
        let control = Control::new(config);
        let (handle, counts) = (control.handle(), control.counts());
        let (sink, changes) = unbounded();
        let thread = std::thread::spawn(move || {
            let run = control.run(|change| sink.send(change).expect("the test listens"));
            run.expect("threads can be started");
        });
        Self {
            handle,
            changes,
            counts,
            thread: Some(thread),
        }
    }

    /// The next change.
    pub(crate) fn next(&self) -> Change {
        self.changes
            .recv_timeout(WAIT_MAX)
            .expect("a change in time")
    }

    /// The next change, which must be the start of a leg.
    pub(crate) fn next_start(&self) -> (LegId, String) {
        match self.next() {
            Change::StartLeg { leg, call_id, .. } => (leg, call_id),
            change => panic!("not a start: {change:?}"),
        }
    }

    /// Whether nothing was told that has not been looked at.
    pub(crate) fn is_quiet(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn count(&self, what: CallCount) -> u64 {
        self.counts.value(what)
    }

    /// Ends the control thread: how long that took.
    pub(crate) fn shut_down(&mut self) -> std::time::Duration {
        let begun = Instant::now();
        self.handle.tell(Input::Shutdown).expect("there is room");
        self.thread.take().expect("once").join().expect("no panic");
        begun.elapsed()
    }
}
