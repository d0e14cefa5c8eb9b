//! The bounded way of audio from the translator's I/O thread to a recogniser's worker.
//!
//! ```text
//! I/O thread ─ AudioSender::send ─▶ [oldest … newest] ─ AudioReceiver ─▶ worker
//!                                    at most chunks_max; full: the oldest is dropped and counted
//! ```
//! The sender never blocks and never fails: late audio is worth less than new audio, so what a
//! stalled recogniser does not take in time is dropped from the old end. Dropping the sender ends
//! the stream. The worker waits on one mechanism only: its own mio poll, which also watches the
//! vendor's socket ([`AudioReceiver::wake_poll`]), or, without a socket, a parked thread
//! ([`AudioReceiver::recv_timeout`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use mio::{Registry, Token, Waker};

/// Opens a way for 16 kHz mono audio that holds at most `chunks_max` chunks (at least one).
///
/// At 20 ms a chunk, 100 chunks are two seconds.
pub fn audio_channel(chunks_max: usize) -> (AudioSender, AudioReceiver) {
    let shared = Arc::new(Shared {
        chunks: ArrayQueue::new(chunks_max.max(1)),
        wake: Mutex::new(Wake::Nobody),
        is_closed: AtomicBool::new(false),
        is_abandoned: AtomicBool::new(false),
        chunks_dropped_total: AtomicU64::new(0),
    });
    let receiver = AudioReceiver {
        shared: Arc::clone(&shared),
    };
    (AudioSender { shared }, receiver)
}

/// The I/O thread's end; dropping it ends the stream.
#[derive(Debug)]
pub struct AudioSender {
    shared: Arc<Shared>,
}

/// The worker's end.
#[derive(Debug)]
pub struct AudioReceiver {
    shared: Arc<Shared>,
}

/// What the worker's end has to give.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Received {
    /// Samples, 16 kHz mono, in the order they were sent; never empty.
    Chunk(Vec<i16>),
    /// The sender is gone and everything it sent has been taken.
    Closed,
    /// Nothing at the moment.
    Empty,
}

impl AudioSender {
    /// Passes a chunk of any length on; an empty one is nothing. When the way is full, the oldest
    /// chunk in it is dropped and counted.
    ///
    /// Never blocks on the worker, never fails; one allocation if a slice is given.
    pub fn send(&mut self, chunk: impl Into<Vec<i16>>) {
        let chunk = chunk.into();
        if chunk.is_empty() {
            return;
        }
        if self.shared.chunks.force_push(chunk).is_some() {
            self.shared
                .chunks_dropped_total
                .fetch_add(1, Ordering::Relaxed);
        }
        // The worker sleeps only on an empty queue, and only this end adds to it: if the worker may
        // be asleep, this chunk is the only one.
        if self.shared.chunks.len() <= 1 {
            self.shared.wake();
        }
    }

    /// Chunks dropped so far because the worker did not keep up.
    pub fn chunks_dropped_total(&self) -> u64 {
        self.shared.chunks_dropped_total.load(Ordering::Relaxed)
    }

    /// Whether the worker's end is gone, so that nobody will hear what is sent.
    pub fn is_abandoned(&self) -> bool {
        self.shared.is_abandoned.load(Ordering::Acquire)
    }
}

impl Drop for AudioSender {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.wake();
    }
}

impl AudioReceiver {
    /// From now on, wakes the poll behind `registry` with `token` when audio comes or ends.
    /// Replaces whoever was woken before. Take with [`Self::try_recv`] until it says
    /// [`Received::Empty`] before every wait.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn wake_poll(&mut self, registry: &Registry, token: Token) -> std::io::Result<()> {
        let waker = Waker::new(registry, token)?;
        self.shared.set_wake(Wake::Poll(waker));
        Ok(())
    }

    /// Takes the oldest chunk without waiting.
    pub fn try_recv(&mut self) -> Received {
        if let Some(chunk) = self.shared.chunks.pop() {
            return Received::Chunk(chunk);
        }
        if !self.shared.is_closed.load(Ordering::Acquire) {
            return Received::Empty;
        }
        // What was sent last may have come between the two looks.
        self.shared
            .chunks
            .pop()
            .map_or(Received::Closed, Received::Chunk)
    }

    /// Takes the oldest chunk, waiting for one for at most `timeout`; for workers without a socket.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Received {
        let deadline = Instant::now() + timeout;
        self.shared.set_wake(Wake::Thread(thread::current()));
        loop {
            let received = self.try_recv();
            let now = Instant::now();
            if received != Received::Empty || now >= deadline {
                return received;
            }
            thread::park_timeout(deadline - now);
        }
    }

    /// Chunks dropped so far because this end did not keep up.
    pub fn chunks_dropped_total(&self) -> u64 {
        self.shared.chunks_dropped_total.load(Ordering::Relaxed)
    }
}

impl Drop for AudioReceiver {
    fn drop(&mut self) {
        self.shared.is_abandoned.store(true, Ordering::Release);
        self.shared.set_wake(Wake::Nobody);
    }
}

#[derive(Debug)]
struct Shared {
    chunks: ArrayQueue<Vec<i16>>,
    /// Locked for one wake-up at a time. A lock rather than an atomic: a sender that finds nobody
    /// to wake must be seen by the receiver that installs itself just then.
    wake: Mutex<Wake>,
    is_closed: AtomicBool,
    is_abandoned: AtomicBool,
    /// Written by the sender only.
    chunks_dropped_total: AtomicU64,
}

/// Who is to be woken.
#[derive(Debug)]
enum Wake {
    Nobody,
    Poll(Waker),
    Thread(Thread),
}

impl Shared {
    fn set_wake(&self, wake: Wake) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = wake;
    }

    fn wake(&self) {
        match &*self.wake.lock().unwrap_or_else(PoisonError::into_inner) {
            Wake::Nobody => {}
            // An eventfd refuses only when its count is full: then a wake-up is already on its way.
            Wake::Poll(waker) => drop(waker.wake()),
            Wake::Thread(thread) => thread.unpark(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(1);

    /// Goal: a worker that does not keep up loses the oldest audio, and every loss is counted.
    #[test]
    fn full_way_drops_the_oldest_and_counts() {
        let (mut sender, mut receiver) = audio_channel(3);
        for sample in 0..5 {
            sender.send([sample]);
        }
        assert_eq!(sender.chunks_dropped_total(), 2);
        for sample in 2..5 {
            assert_eq!(receiver.try_recv(), Received::Chunk(vec![sample]));
        }
        assert_eq!(receiver.try_recv(), Received::Empty);
        assert_eq!(receiver.chunks_dropped_total(), 2);
    }

    /// Goal: the end of the stream comes after everything sent, and stays.
    #[test]
    fn dropped_sender_ends_the_stream_after_the_last_chunk() {
        let (mut sender, mut receiver) = audio_channel(4);
        sender.send(vec![1, 2]);
        sender.send(Vec::new());
        drop(sender);
        assert_eq!(receiver.try_recv(), Received::Chunk(vec![1, 2]));
        assert_eq!(receiver.try_recv(), Received::Closed);
        assert_eq!(receiver.recv_timeout(LONG), Received::Closed);
    }

    /// Goal: a sender learns that nobody listens, and may go on all the same.
    #[test]
    fn abandoned_way_is_seen_and_harmless() {
        let (mut sender, receiver) = audio_channel(1);
        assert!(!sender.is_abandoned());
        drop(receiver);
        sender.send([1]);
        sender.send([2]);
        assert!(sender.is_abandoned());
    }

    /// Goal: no wake-up is lost. Method: two threads in lock step over a second way, so that each
    /// chunk finds the worker at another point between looking and sleeping.
    #[test]
    fn parked_worker_is_woken_by_every_chunk() {
        let (mut sender, mut receiver) = audio_channel(2);
        let (mut back, mut answers) = audio_channel(2);
        let worker = thread::spawn(move || {
            while let Received::Chunk(chunk) = receiver.recv_timeout(LONG) {
                back.send(chunk);
            }
        });
        for sample in 0..2_000 {
            sender.send([sample]);
            assert_eq!(answers.recv_timeout(LONG), Received::Chunk(vec![sample]));
        }
        drop(sender);
        worker.join().unwrap();
        assert_eq!(answers.recv_timeout(LONG), Received::Closed);
    }

    /// Goal: the same for a worker that sleeps in a poll, and the end of the stream wakes it too.
    #[test]
    fn polling_worker_is_woken_by_every_chunk_and_by_the_end() {
        let (mut sender, mut receiver) = audio_channel(2);
        let (mut back, mut answers) = audio_channel(2);
        let worker = thread::spawn(move || {
            let mut poll = Poll::new().unwrap();
            let mut events = Events::with_capacity(4);
            receiver.wake_poll(poll.registry(), Token(7)).unwrap();
            loop {
                match receiver.try_recv() {
                    Received::Chunk(chunk) => back.send(chunk),
                    Received::Closed => return true,
                    Received::Empty => {
                        poll.poll(&mut events, Some(LONG)).unwrap();
                        if events.is_empty() {
                            return false;
                        }
                    }
                }
            }
        });
        for sample in 0..2_000 {
            sender.send([sample]);
            assert_eq!(answers.recv_timeout(LONG), Received::Chunk(vec![sample]));
        }
        drop(sender);
        assert!(worker.join().unwrap());
    }

    #[test]
    fn waiting_ends_at_the_timeout() {
        let (_sender, mut receiver) = audio_channel(1);
        assert_eq!(receiver.recv_timeout(SHORT), Received::Empty);
    }
}
