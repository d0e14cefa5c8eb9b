//! Offline stand-in for Deepgram, DeepL and ElevenLabs.
pub mod grammar;
pub mod phonemes;
pub mod phrase_book;
pub mod pocketsphinx;
pub mod words;
