//! The translator's end of the link: the request that opens a WebSocket, and the WebSocket itself.

pub mod request;
pub mod server;
