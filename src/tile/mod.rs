//! Tiles: pinned threads that move audio and do nothing else.
//!
//! One loop for all of them: [`spawn`] sets the thread up (core, scheduling class, denormals), says
//! once what was refused, and then calls [`Tile::turn`] until it is told to stop. From the first
//! turn on a tile allocates nothing, takes no lock, logs nothing and waits on one thing only: mio
//! (under load its pace) for [`rx`], the frame clock for [`tx`].
//!
//! A tile that panics or can no longer wait ends the process: half a media core is worse than none,
//! and the service manager starts a whole one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::critical::{self, AbortOnPanic};
use crate::realtime::{Degradation, ThreadSettings};
use crate::sys;

pub mod meters;
pub mod rx;
pub mod tx;

/// One turn after another on a thread of its own.
pub trait Tile: Send + 'static {
    /// Waits for this tile's one event, with a bound, and serves it.
    ///
    /// # Errors
    /// The wait itself failed; the tile cannot go on.
    ///
    /// # Real-time
    /// No allocation, no lock, no log.
    fn turn(&mut self) -> io::Result<()>;
}

/// A running tile; dropping it stops it.
#[derive(Debug)]
pub struct TileHandle {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a tile.
///
/// # Errors
/// The thread cannot be made.
pub fn spawn(settings: ThreadSettings, mut tile: impl Tile) -> io::Result<TileHandle> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = thread::Builder::new()
        .name(settings.name.into())
        .spawn(move || {
            let _guard = AbortOnPanic;
            set_up_thread(&settings);
            while !stopped.load(Ordering::Relaxed) {
                if let Err(error) = tile.turn() {
                    critical::abort(settings.name, &error);
                }
            }
        })?;
    Ok(TileHandle {
        stop,
        thread: Some(thread),
    })
}

impl Drop for TileHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Every turn is bounded in time, so this is too.
            let _ = thread.join();
        }
    }
}

/// Applies the settings to the calling thread; each refusal is one line and one count.
fn set_up_thread(settings: &ThreadSettings) {
    settings.apply();
    sys::flush_denormals();
    if !sys::FLUSHES_DENORMALS {
        let name = settings.name;
        log::warn!("degraded: {name} may be slowed by denormal numbers on this processor");
        settings.degradations.count(Degradation::Denormals);
    }
}
