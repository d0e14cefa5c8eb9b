//! The validated configuration: every value here has been checked, so nothing downstream checks it
//! again. It is parsed from flags, environment, `.env` and TOML before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use diglot_rt::msg::Codec;

/// Everything that one process needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// How calls arrive.
    pub asterisk: Asterisk,
    /// The extensions served, in the order of the file.
    pub extensions: Vec<Extension>,
    /// The gateway's end of the link.
    pub link: Link,
    /// The translator's end of the link, and its engine.
    pub translator: Translator,
    /// Speech recognition.
    pub deepgram: Deepgram,
    /// Translation.
    pub deepl: DeepL,
    /// Speech.
    pub elevenlabs: ElevenLabs,
    /// Threads and cores.
    pub realtime: Realtime,
}

/// How the gateway learns of calls.
#[derive(Clone, Debug)]
pub struct Asterisk {
    /// Who says that a leg begins and ends.
    pub control: Control,
    /// A leg that sends no RTP for this long has ended (`control = "none"` only).
    pub leg_timeout: Duration,
}

/// Who says that a leg begins and ends.
#[derive(Clone, Debug)]
pub enum Control {
    /// Asterisk, over its REST interface.
    Ari(Ari),
    /// Nobody: a new RTP source on an extension's port is a new leg.
    None,
}

/// How to reach Asterisk's REST interface.
#[derive(Clone, Debug)]
pub struct Ari {
    /// Base URL, `http://host:port`, without a trailing slash.
    pub url: String,
    /// User of `ari.conf`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Name of the Stasis application.
    pub app: String,
}

/// One extension that callers dial.
#[derive(Clone, Debug)]
pub struct Extension {
    /// What is dialled: "7777".
    pub number: String,
    /// The language its callers speak and hear (BCP 47): "en".
    pub language: String,
    /// The extension its callers are interpreted with.
    pub partner: String,
    /// Where Asterisk sends the audio; numeric, Asterisk is told this address.
    pub listen: SocketAddr,
    /// What Asterisk sends.
    pub uplink: Codec,
    /// What is sent back; a static payload type.
    pub downlink: Codec,
    /// What the listener hears when interpreting fails.
    pub on_failure: OnFailure,
    /// A WAV file to play, again and again, to a caller without a partner; silence if absent.
    pub waiting_prompt: Option<PathBuf>,
}

/// What a listener hears while interpreting is out of order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// The other party's own voice.
    Original,
    /// A WAV file.
    Prompt(PathBuf),
    /// Comfort silence.
    Silence,
}

/// The gateway's end of the link.
#[derive(Clone, Debug)]
pub struct Link {
    /// `ws://host:port/translate`; the extension is appended.
    pub url: String,
}

/// The translator's end of the link.
#[derive(Clone, Debug)]
pub struct Translator {
    /// HTTP and WebSocket.
    pub listen: SocketAddr,
    /// What makes the translation.
    pub engine: Engine,
    /// Threads that translate and speak; each works for one utterance at a time.
    pub workers: usize,
    /// Recognition streams open at once; a leg beyond that is refused.
    pub recognizers_max: usize,
}

/// What makes the translation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// A leg's audio comes back as its own translation at once.
    Loop,
    /// Recognise, translate, speak.
    Vendors,
}

/// Speech recognition.
#[derive(Clone, Debug)]
pub struct Deepgram {
    /// `wss://host` or `ws://host`.
    pub url: String,
    /// API key; `None` if not configured.
    pub key: Option<Secret>,
    /// `nova-3`.
    pub model: String,
    /// Silence that ends an utterance, in milliseconds.
    pub endpointing_ms: u32,
}

/// Translation.
#[derive(Clone, Debug)]
pub struct DeepL {
    /// `https://host`; chosen from the key's suffix if not configured.
    pub url: String,
    /// API key; `None` if not configured.
    pub key: Option<Secret>,
}

/// Speech.
#[derive(Clone, Debug)]
pub struct ElevenLabs {
    /// `https://host`.
    pub url: String,
    /// API key; `None` if not configured.
    pub key: Option<Secret>,
    /// `eleven_flash_v2_5`.
    pub model: String,
    /// Voice by language: `en = "voice id"`.
    pub voices: Vec<(String, String)>,
}

/// Threads and cores.
#[derive(Clone, Debug, Default)]
pub struct Realtime {
    /// Legs at once; memory for all of them is reserved at start.
    pub legs_max: usize,
    /// Core of the rx tile; unpinned if absent.
    pub rx_core: Option<usize>,
    /// Core of the tx tile; unpinned if absent.
    pub tx_core: Option<usize>,
    /// SCHED_FIFO priority asked for; none if absent.
    pub priority: Option<u8>,
}

/// A value that is never printed.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key or password.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
