//! The link between gateway and translator: one WebSocket per call leg.
//!
//! [`messages`] and [`binary`] say what is sent and are shared by both ends, as is [`stream`], the
//! socket below. [`gateway`] is the end that dials and owns the legs, [`translator`] the end that
//! is dialled. The published description is `protocol/asyncapi.yaml` with
//! `protocol/messages.schema.json`.

pub mod binary;
pub mod counts;
mod decode;
pub mod gateway;
pub mod messages;
pub mod stream;
pub mod translator;

/// JSON Schema of every text message, as published.
pub const MESSAGES_SCHEMA: &str = include_str!("protocol/messages.schema.json");

/// AsyncAPI document of the link, as published.
pub const ASYNCAPI: &str = include_str!("protocol/asyncapi.yaml");

/// WebSocket subprotocol whose audio is sent as binary messages.
pub const BINARY_SUBPROTOCOL: &str = "diglot.binary.v1";

/// Bytes of the largest message, text or binary: the largest audio in Node's `Buffer` form, at
/// most four characters a byte, and room for the other fields.
pub const MESSAGE_BYTES_MAX: usize = 4 * AUDIO_BYTES_MAX + 4096;

/// Bytes of PCM in one message: 2 s, as much as a gateway replays after a redial.
pub const AUDIO_BYTES_MAX: usize = 2 * SAMPLE_RATE_HZ as usize * SAMPLE_BYTES;

/// Bytes a WebSocket reads from its socket at once. Several frames of one leg; what a read does not
/// fill is zeroed all the same, and kept for each leg, so no more.
const READ_BYTES: usize = 4 * 1024;

/// The link's only sample rate.
pub const SAMPLE_RATE_HZ: u32 = 16_000;

/// PCM16.
pub const SAMPLE_BYTES: usize = 2;

const _: () = assert!(AUDIO_BYTES_MAX == 64_000);
