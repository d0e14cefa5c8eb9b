//! What the gateway tells people: events of its threads, merged into one line per thing that
//! happened. Nothing here is on the audio's path.

pub mod conversation;
pub mod event;
pub mod logging;
