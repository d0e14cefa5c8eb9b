//! The bounded way of audio from the translator's I/O thread to a recogniser's worker.

/// The worker's end.
#[derive(Debug)]
pub struct AudioReceiver {}
