//! What holds where nothing is written. The table in the module's head shows these to people.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// An extension that needs no file.
pub(super) struct KnownExtension {
    pub(super) number: &'static str,
    pub(super) language: &'static str,
    pub(super) port: u16,
}

/// The pair that is served if nobody names another.
pub(super) const EXTENSIONS: [KnownExtension; 2] = [
    KnownExtension {
        number: "7777",
        language: "en",
        port: 5000,
    },
    KnownExtension {
        number: "8888",
        language: "fr",
        port: 5001,
    },
];

/// Nothing is reachable from outside unless somebody writes so.
pub(super) const LISTEN_IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) const TRANSLATOR_LISTEN: SocketAddr = SocketAddr::new(LISTEN_IP, 3002);
pub(super) const MONITOR_LISTEN: SocketAddr = SocketAddr::new(LISTEN_IP, 3001);

pub(super) const ARI_URL: &str = "http://127.0.0.1:8088";
pub(super) const ARI_USER: &str = "gateway";
pub(super) const ARI_APP: &str = "diglot";
pub(super) const LEG_TIMEOUT: Duration = Duration::from_millis(5_000);

/// A worker speaks or translates one clause at a time; small accounts allow as many at once.
pub(super) const WORKERS: usize = 8;

/// The smallest number of streams that Deepgram documents for a paying account.
pub(super) const RECOGNIZERS_MAX: usize = 50;

pub(super) const DEEPGRAM_URL: &str = "wss://api.deepgram.com";
pub(super) const DEEPGRAM_MODEL: &str = "nova-3";

/// The least that Deepgram advises for conversation.
pub(super) const ENDPOINTING_MS: u32 = 300;

pub(super) const DEEPL_URL: &str = "https://api.deepl.com";
pub(super) const DEEPL_FREE_URL: &str = "https://api-free.deepl.com";

pub(super) const ELEVENLABS_URL: &str = "https://api.elevenlabs.io";
pub(super) const ELEVENLABS_MODEL: &str = "eleven_flash_v2_5";

/// A voice that every account has ("George"); the model speaks all its languages with any voice.
pub(super) const VOICE: &str = "JBFqnCBsd6RMkjVDRZzb";

pub(super) const HUME_URL: &str = "wss://api.hume.ai";

/// 256 calls between two parties, what two shared cores are asked to carry.
pub(super) const LEGS_MAX: usize = 512;

/// What two shared cores can use: one rx tile and one tx tile.
pub(super) const TILE_PAIRS: usize = 1;

/// The middle of SCHED_FIFO's range: above everything that did not ask, below the kernel's own
/// threads that did.
pub(super) const PRIORITY: Option<u8> = Some(50);
