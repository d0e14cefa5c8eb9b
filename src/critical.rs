//! Threads without which the process is worth nothing: tiles, link, control, log, translator.
//!
//! One that panics, or can no longer wait, ends the process, and the service manager starts a
//! whole one: half a gateway takes calls that nobody serves. It refuses to be clever: no thread is
//! started anew.

use std::fmt::Display;
use std::process;
use std::thread;

use crate::observe::logging;

/// Ends the process if the thread that holds it panics.
#[derive(Debug)]
pub struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            logging::flush();
            process::abort();
        }
    }
}

/// Ends the process at once, after one line that says why.
pub fn abort(thread: &str, reason: &dyn Display) -> ! {
    log::error!("{thread}: cannot go on: {reason}");
    logging::flush();
    process::abort();
}
