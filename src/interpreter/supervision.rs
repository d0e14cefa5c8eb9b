//! Keeps a recognition stream open for as long as the leg lives: after an end it is opened again,
//! at once the first time, then with growing pauses.

use std::collections::VecDeque;

use diglot_rt::units::Micros;

use super::limits::{REOPEN_BUSY_MS, REOPEN_MS, REOPEN_REFUSED_MS, STREAM_STABLE_MS};
use super::{Failure, JobFailure, Output};

/// Supervises one leg's streams.
#[derive(Debug)]
pub(super) struct Supervision {
    /// The current stream, or the last one while none is.
    stream: u32,
    state: State,
    /// Ends in a row without a word recognised.
    failures: usize,
    has_told_busy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Asked for; open once the vendor said so.
    Open { since: Option<Micros> },
    /// To be opened then.
    Paused { until: Micros },
}

impl Supervision {
    /// Asks for the first stream.
    pub(super) fn start(outputs: &mut VecDeque<Output>) -> Self {
        outputs.push_back(Output::OpenStream { stream: 1 });
        let state = State::Open { since: None };
        Self {
            stream: 1,
            state,
            failures: 0,
            has_told_busy: false,
        }
    }

    /// Whether what this stream says counts.
    pub(super) fn is_current(&self, stream: u32) -> bool {
        stream == self.stream && matches!(self.state, State::Open { .. })
    }

    pub(super) fn opened(&mut self, now: Micros) {
        self.state = State::Open { since: Some(now) };
        self.has_told_busy = false;
    }

    pub(super) fn recognized(&mut self) {
        self.failures = 0;
    }

    pub(super) fn refused(&mut self, now: Micros, stream: u32, outputs: &mut VecDeque<Output>) {
        if !self.is_current(stream) {
            return;
        }
        self.state = State::Paused {
            until: now.plus_ms(REOPEN_BUSY_MS),
        };
        if !std::mem::replace(&mut self.has_told_busy, true) {
            outputs.push_back(Output::Failed {
                failure: Failure::Busy,
                utterance: 0,
                detail: "every recogniser is taken; it is tried again".into(),
            });
        }
    }

    pub(super) fn ended(
        &mut self,
        now: Micros,
        result: Result<(), JobFailure>,
        outputs: &mut VecDeque<Output>,
    ) {
        let State::Open { since } = self.state else {
            return;
        };
        if since.is_some_and(|since| now >= since.plus_ms(STREAM_STABLE_MS)) {
            self.failures = 0;
        }
        let is_lasting =
            matches!(&result, Err(JobFailure::Vendor(error)) if !error.kind.is_retryable());
        let pause_ms = if is_lasting && self.failures > 0 {
            REOPEN_REFUSED_MS
        } else {
            REOPEN_MS[self.failures.min(REOPEN_MS.len() - 1)]
        };
        self.failures += 1;
        self.state = State::Paused {
            until: now.plus_ms(pause_ms),
        };
        if let Err(cause) = result {
            let failure = match cause {
                JobFailure::Panicked => Failure::Panicked,
                JobFailure::Vendor(_) => Failure::Recognition,
            };
            let detail = cause.to_string();
            outputs.push_back(Output::Failed {
                failure,
                utterance: 0,
                detail,
            });
        }
        self.handle_timeout(now, outputs);
    }

    pub(super) fn deadline(&self) -> Option<Micros> {
        match self.state {
            State::Open { .. } => None,
            State::Paused { until } => Some(until),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Micros, outputs: &mut VecDeque<Output>) {
        if self.deadline().is_some_and(|until| now >= until) {
            self.stream += 1;
            self.state = State::Open { since: None };
            outputs.push_back(Output::OpenStream {
                stream: self.stream,
            });
        }
    }
}
