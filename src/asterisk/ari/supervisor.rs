//! Keeps the event socket open: reconnects with growing pauses, and says when it is open and lost.
//! It never gives up, and never hammers: a connection that lasted too short counts as a failure.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use super::events::{Events, EventsError, Heard};
use super::model::{Message, parse_event};
use crate::call::Input;
use crate::config::Ari;

/// First pause before a new try.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Longest pause; reached after ten tries and some ten seconds.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How pauses grow: slowly enough that an Asterisk which restarts, in half a second, is found
/// again a quarter of a second later.
const PAUSE_GROWTH: f64 = 1.5;

/// A connection that lasted this long was a good one: the next pause is short again.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Pause after another gateway took over our application. Two of them must not take it from each
/// other all day; long enough for a person to stop one.
const REPLACED_PAUSE: Duration = Duration::from_secs(60);

/// The thread that reads events.
pub(in crate::asterisk) struct Supervisor {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Supervisor {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(in crate::asterisk) fn start(ari: &Ari, inbox: &Sender<Input>) -> std::io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (ari, inbox) = (ari.clone(), inbox.clone());
        let builder = std::thread::Builder::new().name("ari-events".to_owned());
        let thread = builder.spawn(move || supervise(&ari, &inbox, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread: within one read, or one attempt to connect.
    pub(in crate::asterisk) fn join(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            log::error!("the thread for Asterisk's events panicked");
        }
    }
}

/// Why reading ended.
enum Lost {
    Error(EventsError),
    Replaced,
    /// The process ends.
    Stopped,
}

fn supervise(ari: &Ari, inbox: &Sender<Input>, stopped: &Receiver<()>) {
    let mut backoff = Backoff::default();
    let mut said = String::new();
    loop {
        let pause = match Events::connect(ari) {
            Ok(events) => {
                log::info!(
                    "Asterisk at {}: connected, application {}",
                    ari.url,
                    ari.app
                );
                said.clear();
                let begun = Instant::now();
                let lost = follow(events, inbox, stopped);
                if begun.elapsed() >= GOOD_CONNECTION {
                    backoff = Backoff::default();
                }
                match on_lost(ari, inbox, lost) {
                    After::End => return,
                    After::Reconnect => backoff.next_pause(),
                    After::Yield => REPLACED_PAUSE,
                }
            }
            Err(error) => {
                let text = error.to_string();
                if text != said {
                    log::warn!("Asterisk at {}: {text}; trying again", ari.url);
                    said = text;
                }
                backoff.next_pause()
            }
        };
        if !matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

enum After {
    End,
    Reconnect,
    Yield,
}

fn on_lost(ari: &Ari, inbox: &Sender<Input>, lost: Lost) -> After {
    let (input, after) = match lost {
        Lost::Error(error) => {
            log::warn!("Asterisk at {}: events lost: {error}", ari.url);
            if matches!(error, EventsError::Oversized) && inbox.send(Input::EventOversized).is_err()
            {
                return After::End;
            }
            (Input::Disconnected, After::Reconnect)
        }
        Lost::Replaced => {
            log::error!(
                "another gateway took over application {} of Asterisk at {}: its calls are no \
                 longer ours; trying again in {} s",
                ari.app,
                ari.url,
                REPLACED_PAUSE.as_secs()
            );
            (Input::Replaced, After::Yield)
        }
        Lost::Stopped => return After::End,
    };
    if inbox.send(input).is_err() {
        After::End
    } else {
        after
    }
}

/// Passes events on until the connection is lost.
fn follow(mut events: Events, inbox: &Sender<Input>, stopped: &Receiver<()>) -> Lost {
    if inbox.send(Input::Connected).is_err() {
        return Lost::Stopped;
    }
    loop {
        if !matches!(stopped.try_recv(), Err(TryRecvError::Empty)) {
            events.close();
            return Lost::Stopped;
        }
        let input = match events.read() {
            Ok(Heard::Nothing) => continue,
            Ok(Heard::Text(text)) => match parse_event(&text) {
                Ok(Message::Event(event)) => Input::Event(event),
                Ok(Message::Ignored) => continue,
                Ok(Message::Replaced) => {
                    events.close();
                    return Lost::Replaced;
                }
                Err(error) => {
                    log::debug!("unreadable event: {error}");
                    Input::EventBroken
                }
            },
            Err(error) => return Lost::Error(error),
        };
        if inbox.send(input).is_err() {
            return Lost::Stopped;
        }
    }
}

/// Pauses that grow from [`PAUSE_MIN`] to [`PAUSE_MAX`], each shortened by up to a half at random,
/// so that many gateways do not come back at the same moment.
struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSE_MIN }
    }
}

impl Backoff {
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = self.pause.mul_f64(PAUSE_GROWTH).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: pauses grow, stay in their bounds, and never overflow.
    #[test]
    fn pauses_grow_to_their_bound() {
        let mut backoff = Backoff::default();
        assert!(backoff.next_pause() <= PAUSE_MIN);
        for _ in 0..100 {
            assert!(backoff.next_pause() <= PAUSE_MAX);
        }
        assert!(backoff.next_pause() >= PAUSE_MAX / 2);
    }
}
