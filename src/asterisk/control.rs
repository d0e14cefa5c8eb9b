//! The control thread: feeds [`Calls`] with events, replies and inputs from elsewhere, and carries
//! out what it decides. It waits on one channel, with the state machine's own deadline.
//!
//! Requests to Asterisk run on workers ([`ari::rest`](super::ari)), events are read by a thread of
//! their own; both write into the same inbox. Changes of legs go to a sink that the gateway brings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use diglot_rt::limits::LEGS_MAX;
use diglot_rt::units::Micros;

use super::ari::rest::Workers;
use super::ari::supervisor::Supervisor;
use crate::call::ari::Reply;
use crate::call::{CallCounts, CallEvent, Calls, Change, Input, Output};
use crate::config::{Ari, Config, Control as Mode, Extension};

/// Inputs that wait at most: four for every leg. The event thread waits when it is full, so that
/// Asterisk's own queue grows; others get their input back.
const INBOX_MAX: usize = 4 * LEGS_MAX;

/// Longest time that deleting everything may take when the process ends.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// Everything the control thread owns.
pub struct Control {
    calls: Calls,
    ari: Option<Ari>,
    extensions: Vec<Extension>,
    sender: Sender<Input>,
    inbox: Receiver<Input>,
    epoch: Instant,
}

/// Gives inputs to the control thread, from any thread that may block never.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    sender: Sender<Input>,
}

/// The input did not fit, or the control thread has ended; here it is again.
#[derive(Debug)]
pub struct Refused(pub Input);

impl ControlHandle {
    /// Queues an input, without waiting.
    ///
    /// # Errors
    /// Gives the input back if the inbox is full or the control thread has ended.
    pub fn tell(&self, input: Input) -> Result<(), Refused> {
        self.sender.try_send(input).map_err(|error| match error {
            TrySendError::Disconnected(input) | TrySendError::Full(input) => Refused(input),
        })
    }
}

impl Control {
    /// No thread runs and nothing is connected yet.
    pub fn new(config: &Config) -> Self {
        let (sender, inbox) = bounded(INBOX_MAX);
        let ari = match &config.asterisk.control {
            Mode::Ari(ari) => Some(ari.clone()),
            Mode::None => None,
        };
        Self {
            calls: Calls::new(config, fastrand::u64(..)),
            ari,
            extensions: config.extensions.clone(),
            sender,
            inbox,
            epoch: Instant::now(),
        }
    }

    /// The way to give it inputs.
    pub fn handle(&self) -> ControlHandle {
        ControlHandle {
            sender: self.sender.clone(),
        }
    }

    /// Its counters.
    pub fn counts(&self) -> Arc<CallCounts> {
        self.calls.counts()
    }

    /// Runs on this thread until [`Input::Shutdown`], and then until everything of ours in Asterisk
    /// is deleted, 3 s at most. `sink` gets every [`Change`] in order; it must not block: a leg is
    /// started before Asterisk is asked to send its audio.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn run(mut self, mut sink: impl FnMut(Change)) -> std::io::Result<()> {
        let asterisk = match &self.ari {
            Some(ari) => Some((
                Workers::start(ari, &self.sender)?,
                Supervisor::start(ari, &self.sender)?,
            )),
            None => None,
        };
        let workers = asterisk.as_ref().map(|(workers, _)| workers);
        let mut ends_at = None;
        loop {
            if let Some(ends_at) = ends_at
                && (self.calls.is_empty() || Instant::now() >= ends_at)
            {
                break;
            }
            let Some(input) = self.next_input(ends_at) else {
                continue;
            };
            if input == Input::Shutdown {
                ends_at.get_or_insert_with(|| Instant::now() + SHUTDOWN_WAIT);
            }
            self.step(input, workers, &mut sink);
        }
        if !self.calls.is_empty() {
            log::warn!("Asterisk did not answer in time: some channels or bridges may be left");
        }
        drop(self.inbox);
        if let Some((workers, supervisor)) = asterisk {
            workers.join();
            supervisor.join();
        }
        Ok(())
    }

    /// Waits for an input or the next deadline; `None` when only `ends_at` was reached.
    fn next_input(&self, ends_at: Option<Instant>) -> Option<Input> {
        let tick_at = self
            .calls
            .next_deadline()
            .map(|at| self.epoch + Duration::from_micros(at.0));
        let deadline = tick_at.into_iter().chain(ends_at).min();
        let Some(deadline) = deadline else {
            return Some(self.inbox.recv().expect("we hold a sender ourselves"));
        };
        match self.inbox.recv_deadline(deadline) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) if tick_at == Some(deadline) => Some(Input::Tick),
            Err(_) => None,
        }
    }

    /// One input, and everything that follows from it.
    fn step(&mut self, input: Input, workers: Option<&Workers>, sink: &mut impl FnMut(Change)) {
        let mut next = Some(input);
        let mut refused = Vec::new();
        while let Some(input) = next {
            self.calls.handle(self.now(), input);
            while let Some(output) = self.calls.poll_output() {
                match output {
                    Output::Change(change) => sink(change),
                    Output::Event(event) => self.log(&event),
                    Output::Request { ticket, request } => {
                        let submitted = workers.map(|workers| workers.submit(ticket, request));
                        if let Some(Err(ticket)) = submitted {
                            log::warn!("too many requests for Asterisk wait: one was dropped");
                            refused.push(Input::Reply {
                                ticket,
                                reply: Reply::NoReply,
                            });
                        }
                    }
                }
            }
            next = refused.pop();
        }
    }

    /// Rounded up, so that a deadline that was waited for has passed.
    fn now(&self) -> Micros {
        let elapsed = self.epoch.elapsed();
        Micros(u64::try_from(elapsed.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX))
    }

    /// One line for each event. What callers and Asterisk chose is printed with escapes.
    fn log(&self, event: &CallEvent) {
        match event {
            CallEvent::Arrived {
                call_id,
                extension,
                caller,
            } => {
                let number = self
                    .extensions
                    .get(*extension)
                    .map_or("", |e| e.number.as_str());
                log::info!("call {call_id:?}: {caller:?} dialled {number}");
            }
            CallEvent::Dtmf {
                call_id,
                digit,
                duration_ms,
            } => {
                // People type PINs and card numbers.
                log::info!("call {call_id:?}: a key for {duration_ms} ms");
                log::debug!("call {call_id:?}: it was key {digit:?}");
            }
            CallEvent::Ended { call_id, reason } => {
                log::info!("call {call_id:?}: over, {reason:?}");
            }
            CallEvent::Hold { call_id } => log::info!("call {call_id:?}: on hold"),
            CallEvent::Moved { call_id, remote } => {
                log::warn!("call {call_id:?}: its audio comes from {remote} now");
            }
            CallEvent::Leftover { id } => log::warn!("deleting {id:?}: ours, but of no call"),
            CallEvent::Refused {
                call_id,
                extension,
                reason,
            } => {
                log::warn!("call {call_id:?} to {extension:?} refused: {reason:?}");
            }
            CallEvent::Unhold { call_id } => log::info!("call {call_id:?}: back from hold"),
            CallEvent::Up { call_id, setup_us } => {
                log::info!("call {call_id:?}: up after {setup_us} µs");
            }
        }
    }
}
