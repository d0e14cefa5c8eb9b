//! The validated configuration: every value here has been checked, so nothing downstream checks it
//! again. It is parsed from flags, environment, `.env` and TOML before anything starts.
//!
//! ```text
//! --set ▷ environment ▷ --env-file ▷ --config ▷ defaults      the left one holds
//!   each ─▶ draft (every value with its place) ─▶ build (parse, relate) ─▶ Config | ConfigError
//! ```
//! Refused: keys that nothing would read, and whatever could only fail later. A refusal is one line
//! with file, line and key; of several, the first in file order. Keys and passwords come from
//! variables or from files of their own, never from TOML or flags, and are never printed. Which
//! parts must be complete depends on the [`Command`]: a gateway needs no vendor's key, a translator
//! no ARI.
//!
//! | Key | Default | Accepted |
//! |---|---|---|
//! | `asterisk.control` | `"ari"` | `"ari"`, `"none"` |
//! | `asterisk.url` | `"http://127.0.0.1:8088"` | http, https |
//! | `asterisk.user`, `app` | `"gateway"`, `"diglot"` | names |
//! | `asterisk.password_file` | required by a gateway with ARI | a file of one line |
//! | `asterisk.leg_timeout_ms` | 5000 | 200 to 600 000 |
//! | `extension.number`, `partner` | required; see below | 1 to 15 digits |
//! | `extension.language` | required; see below | BCP 47 |
//! | `extension.listen` | required; see below | numeric `IP:port` |
//! | `extension.transport` | `"rtp"` | `"rtp"` |
//! | `extension.uplink` | `"slin16"` | `"slin16"`, `"g722"`, `"slin"`, `"ulaw"`, `"alaw"` |
//! | `extension.downlink` | `"slin"` | `"g722"`, `"slin"`, `"ulaw"`, `"alaw"` |
//! | `extension.on_failure` | `"silence"` | `"silence"`, `"original"`, `"prompt:FILE"` |
//! | `extension.waiting_prompt` | none: silence | a file |
//! | `extension.comfort_noise_dbm0` | none: true silence | -80 to -40 |
//! | `link.url` | `"ws://127.0.0.1:<port of translator.listen>/translate"` | ws |
//! | `translator.listen` | `"127.0.0.1:3002"` | numeric `IP:port` |
//! | `translator.engine` | `"vendors"` | `"vendors"`, `"loop"` |
//! | `translator.workers` | 8 | 1 to 256 |
//! | `translator.recognizers_max` | 50 | 1 to 1024 |
//! | `deepgram.url` | `"wss://api.deepgram.com"` | wss, ws |
//! | `deepgram.model`, `endpointing_ms` | `"nova-3"`, 300 | a name, 10 to 5000 |
//! | `deepl.url` | `"https://api.deepl.com"`; api-free if the key ends in `:fx` | https, http |
//! | `elevenlabs.url` | `"https://api.elevenlabs.io"` | https, http |
//! | `elevenlabs.model` | `"eleven_flash_v2_5"` | a name |
//! | `elevenlabs.voices.<language>` | one voice that every account has | a voice id |
//! | `key_file` of every vendor | none: the variable is enough | a file of one line |
//! | `realtime.legs_max` | 512 | 1 to 1024 |
//! | `realtime.tile_pairs` | 1 | 1 to 8 |
//! | `realtime.rx_core`, `tx_core` | none: not pinned | 0 to 1023; an array, one for each tile pair |
//! | `realtime.priority` | 50 | 1 to 99: SCHED_FIFO of the frame clock, rx one less; 0 asks for nothing |
//! | `monitor.listen` | `"127.0.0.1:3001"` | numeric `IP:port`; no effect yet |
//! | `hume.url` | `"wss://api.hume.ai"` | wss, ws; no effect yet |
//!
//! If the file lists no `[[extension]]`, the two that variables name are partners; if they name
//! none, 7777 (`en`, `127.0.0.1:5000`) and 8888 (`fr`, `127.0.0.1:5001`) are. At most 16
//! extensions. Relative paths start from the folder of the TOML file, those of flags from the
//! working folder.
//!
//! | Variable | What it says |
//! |---|---|
//! | `TRANSLATION_SERVER_PORT` | port of `translator.listen`; the host stays |
//! | `WEBSOCKET_PORT` | port of `link.url`, where a gateway finds its translator |
//! | `GATEWAY_RTP_PORT_<number>` | port of that extension's `listen`; the host stays |
//! | `EXT_<number>_LANGUAGE` | that extension's `language` |
//! | `DEEPGRAM_API_KEY`, `DEEPL_API_KEY` | keys |
//! | `ELEVENLABS_API_KEY`, `HUME_API_KEY` | keys |
//!
//! HTTP and WebSocket share the translator's one port: `diglot translator`, and `diglot run`
//! without a `link.url`, ignore `WEBSOCKET_PORT` and say so if it names another. An empty variable
//! is an unset one. Where a TOML file lists the extensions, variables of others have no effect, so
//! that two stacks can share one environment file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use diglot_rt::msg::{Codec, Comfort};

use draft::Draft;
use error::Place;

mod build;
mod defaults;
mod draft;
mod env;
pub(crate) mod error;
mod file;
mod parse;
mod read;

pub use error::{ConfigError, EXIT_STATUS, Place as ConfigPlace};

/// Threads that work for vendors at most: each holds a stack and a connection, and no account
/// allows more at once.
const WORKERS_MAX: i64 = 256;

/// Where a configuration comes from. What is absent is not looked for.
#[derive(Clone, Debug)]
pub struct Sources {
    /// What the configuration is for.
    pub command: Command,
    /// The TOML file.
    pub config: Option<PathBuf>,
    /// The file of variables.
    pub env_file: Option<PathBuf>,
    /// The process environment; only the names of the table above are looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// `--set`: key and value, in the order given.
    pub set: Vec<(String, String)>,
}

/// What a process does, and so which parts of the configuration must be complete.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Takes calls and carries their audio.
    Gateway,
    /// Both in one process.
    Run,
    /// Shows how a gateway would run here.
    Topology,
    /// Interprets.
    Translator,
}

impl Command {
    /// Whether calls are taken.
    pub fn runs_gateway(self) -> bool {
        matches!(self, Self::Gateway | Self::Run)
    }

    /// Whether speech is interpreted.
    pub fn runs_translator(self) -> bool {
        matches!(self, Self::Run | Self::Translator)
    }
}

/// Reads, overlays and checks.
///
/// # Errors
/// The first thing wrong, in file order; as one line by `Display`. The process should end with
/// [`EXIT_STATUS`].
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut draft = Draft::default();
    if let Some(path) = &sources.config {
        let place = |line| Place::Toml {
            path: path.clone(),
            line: Some(line),
        };
        let text = read::read_text(path, read::CONFIG_BYTES_MAX, place)?;
        file::apply(&mut draft, path, &text)?;
    }
    let mut variables = Vec::new();
    if let Some(path) = &sources.env_file {
        let place = |line| Place::EnvFile {
            path: path.clone(),
            line,
        };
        let text = read::read_text(path, read::CONFIG_BYTES_MAX, place)?;
        variables = env::from_file(&mut draft, path, &text);
    }
    variables.extend(env::from_environment(&mut draft, &sources.environment));
    env::apply(&mut draft, variables);
    draft.apply_flags(&sources.set);
    build::build(draft, sources.command)
}

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
    /// Emotion; kept, without effect in this version.
    pub hume: Hume,
    /// The dashboard; kept, without effect in this version.
    pub monitor: Monitor,
    /// Threads and cores.
    pub realtime: Realtime,
    /// What was set and has no effect, or a doubtful one: one line each, to be logged at start.
    pub notes: Vec<String>,
}

/// How the gateway learns of calls.
#[derive(Clone, Debug)]
pub struct Asterisk {
    /// Who says that a leg begins and ends; [`Control::None`] where no gateway is to run.
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
    /// What is sent while nothing is said.
    pub comfort: Comfort,
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
    /// `ws://host:port/translate`, without a trailing slash; `/{extension}` is appended.
    ///
    /// Port 0 is that of a translator in the same process: see [`Link::to_bound`].
    pub url: String,
}

impl Link {
    /// This link once the translator of the same process listens: port 0 becomes its real port.
    pub fn to_bound(&self, translator: SocketAddr) -> Self {
        /// How port 0 reads between host and path.
        const PORT_0: &str = ":0/";
        Self {
            url: self
                .url
                .replacen(PORT_0, &format!(":{}/", translator.port()), 1),
        }
    }
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
    /// Voice by language: `en = "voice id"`; one for the language of every extension.
    pub voices: Vec<(String, String)>,
}

/// Emotion.
#[derive(Clone, Debug)]
pub struct Hume {
    /// `wss://host`.
    pub url: String,
    /// API key; `None` if not configured.
    pub key: Option<Secret>,
}

/// The dashboard.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// HTTP.
    pub listen: SocketAddr,
}

/// Threads and cores.
#[derive(Clone, Debug)]
pub struct Realtime {
    /// Legs at once; memory for all of them is reserved at start.
    pub legs_max: usize,
    /// Pairs of an rx and a tx tile over which legs are spread; 1 to `TILE_PAIRS_MAX`.
    pub tile_pairs: usize,
    /// Core of each pair's rx tile; empty if they are not pinned.
    pub rx_cores: Vec<usize>,
    /// Core of each pair's tx tile; empty if they are not pinned.
    pub tx_cores: Vec<usize>,
    /// SCHED_FIFO priority asked for the tiles; none is asked for any thread if absent.
    pub priority: Option<u8>,
}

impl Default for Realtime {
    /// Unpinned, as many legs as two shared cores are asked to carry.
    fn default() -> Self {
        Self {
            legs_max: defaults::LEGS_MAX,
            tile_pairs: defaults::TILE_PAIRS,
            rx_cores: Vec::new(),
            tx_cores: Vec::new(),
            priority: defaults::PRIORITY,
        }
    }
}

/// Those who listen, translate, speak and read emotion, each with an account of their own.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Vendor {
    Deepgram,
    DeepL,
    ElevenLabs,
    Hume,
}

impl Vendor {
    const ALL: [Self; 4] = [Self::Deepgram, Self::DeepL, Self::ElevenLabs, Self::Hume];

    /// Its table in the TOML file.
    fn section(self) -> &'static str {
        match self {
            Self::Deepgram => "deepgram",
            Self::DeepL => "deepl",
            Self::ElevenLabs => "elevenlabs",
            Self::Hume => "hume",
        }
    }

    /// The variable that holds its key.
    fn variable(self) -> &'static str {
        match self {
            Self::Deepgram => "DEEPGRAM_API_KEY",
            Self::DeepL => "DEEPL_API_KEY",
            Self::ElevenLabs => "ELEVENLABS_API_KEY",
            Self::Hume => "HUME_API_KEY",
        }
    }

    fn of_section(section: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|vendor| vendor.section() == section)
    }
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
