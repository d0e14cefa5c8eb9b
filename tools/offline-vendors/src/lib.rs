//! Stands in for Deepgram, DeepL and ElevenLabs on their own wire protocols, with no account.
//!
//! It really listens (PocketSphinx and one phrase book) and really speaks (espeak-ng, flite), and
//! is strict as the vendors are: what they refuse is refused here with their status and body. It
//! shares no message type with any client. Two languages, and only the phrases of the book: the
//! rest of speech is refused, not guessed.
//!
//! ```text
//! server ─ accepts, bounds, routes ─┬─ deepgram ── listening ── recognizer ── pocketsphinx
//!                                   ├─ deepl ───── phrase_book
//!                                   └─ elevenlabs ─ speech (child processes) ── resample
//! ```

pub mod cli;
pub mod deepgram;
pub mod deepl;
pub mod elevenlabs;
pub mod features;
pub mod grammar;
pub mod http;
pub mod listening;
pub mod phonemes;
pub mod phrase_book;
pub mod pocketsphinx;
pub mod recognizer;
pub mod resample;
pub mod second_opinion;
pub mod server;
pub mod speech;
pub mod templates;
pub mod warping;
pub mod words;
