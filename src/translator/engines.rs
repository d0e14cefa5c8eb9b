//! The vendors' clients behind the translator, made from the configuration.

use std::sync::Arc;

use super::Engines;
use crate::config::Config;
use crate::vendor::VendorError;
use crate::vendor::deepgram::Deepgram;
use crate::vendor::deepl::DeepL;
use crate::vendor::elevenlabs::ElevenLabs;

impl Engines {
    /// Clients of the configured accounts; nothing is connected yet.
    ///
    /// # Errors
    /// A key is missing or cannot be sent.
    pub fn from_config(config: &Config) -> Result<Self, VendorError> {
        Ok(Self {
            recognizer: Arc::new(Deepgram::new(&config.deepgram)?),
            translator: Arc::new(DeepL::new(&config.deepl)?),
            synthesizer: Arc::new(ElevenLabs::new(&config.elevenlabs)?),
        })
    }
}
