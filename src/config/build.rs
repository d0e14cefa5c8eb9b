//! Draft → [`Config`]: values parsed, relations between values checked, defaults filled in.
//!
//! An error is recorded and a stand-in value carried on with, so that the first error in file order
//! is the one reported; nothing built on a stand-in is ever given out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use diglot_rt::limits::{LEGS_MAX, RTP_PORTS_MAX, TILE_PAIRS_MAX};
use diglot_rt::msg::{Codec, Comfort};

use super::draft::{Draft, ExtensionDraft, Setting, VOICES};
use super::error::{ConfigError, Place, quoted};
use super::parse::{self, Refusal, Url};
use super::{
    Ari, Asterisk, Command, Config, Control, DeepL, Deepgram, ElevenLabs, Engine, Extension, Hume,
    Link, Monitor, OnFailure, Realtime, Secret, Translator, Vendor, WORKERS_MAX, defaults,
};

/// Stands in for an address that was refused.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Checks everything that `command` needs.
///
/// # Errors
/// The first error in file order.
pub(super) fn build(mut draft: Draft, command: Command) -> Result<Config, ConfigError> {
    let draft = &mut draft;
    let asterisk = asterisk(draft, command);
    let extensions = extensions(draft, &asterisk.control, command);
    let translator = translator(draft);
    let needed = match (command.runs_translator(), translator.engine) {
        (true, Engine::Vendors) => Needed::Yes,
        (true, Engine::Loop) | (false, _) => Needed::No,
    };
    let config = Config {
        link: link(draft, command, translator.listen),
        deepgram: deepgram(draft, needed),
        deepl: deepl(draft, needed),
        elevenlabs: elevenlabs(draft, needed, &extensions),
        hume: hume(draft),
        monitor: monitor(draft),
        realtime: realtime(draft),
        asterisk,
        extensions,
        translator,
        notes: std::mem::take(&mut draft.notes),
    };
    draft.take_first_error().map_or(Ok(config), Err)
}

/// Whether the command uses a part, so that what it lacks is an error.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Needed {
    No,
    Yes,
}

/// One value of a table; `None` if absent, or refused and recorded.
fn read<T>(
    draft: &mut Draft,
    key: &str,
    parse: impl FnOnce(&Setting) -> Result<T, Refusal>,
) -> Option<T> {
    match parse(draft.values.get(key)?) {
        Ok(value) => Some(value),
        Err(refusal) => {
            let error = refusal.at(&draft.values[key]);
            draft.refuse(error);
            None
        }
    }
}

fn read_integer(draft: &mut Draft, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<u32> {
    read(draft, key, parse::integer(range)).and_then(|value| u32::try_from(value).ok())
}

fn read_usize(draft: &mut Draft, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<usize> {
    read(draft, key, parse::integer(range)).and_then(|value| usize::try_from(value).ok())
}

fn read_token(draft: &mut Draft, key: &str, default: &str) -> String {
    read(draft, key, parse::token).unwrap_or_else(|| default.to_owned())
}

fn asterisk(draft: &mut Draft, command: Command) -> Asterisk {
    #[derive(Clone, Copy, Eq, PartialEq)]
    enum Kind {
        Ari,
        None,
    }
    /// Shorter than a few lost packets would end calls; longer than ten minutes keeps dead legs.
    const LEG_TIMEOUT_MS: std::ops::RangeInclusive<i64> = 200..=600_000;
    let kind = parse::choice(&[("ari", Kind::Ari), ("none", Kind::None)]);
    let kind = read(draft, "asterisk.control", kind).unwrap_or(Kind::Ari);
    let url = read(draft, "asterisk.url", parse::url(&["http", "https"]));
    let url = url.map_or_else(|| defaults::ARI_URL.to_owned(), |url| url.to_string());
    let user = read_token(draft, "asterisk.user", defaults::ARI_USER);
    let app = read_token(draft, "asterisk.app", defaults::ARI_APP);
    let leg_timeout = read_integer(draft, "asterisk.leg_timeout_ms", LEG_TIMEOUT_MS)
        .map_or(defaults::LEG_TIMEOUT, |ms| {
            Duration::from_millis(u64::from(ms))
        });
    let control = if kind == Kind::Ari && command.runs_gateway() {
        let password = password(draft);
        Control::Ari(Ari {
            url,
            user,
            password,
            app,
        })
    } else {
        Control::None
    };
    Asterisk {
        control,
        leg_timeout,
    }
}

fn password(draft: &mut Draft) -> Secret {
    const KEY: &str = "asterisk.password_file";
    if !draft.values.contains_key(KEY) {
        draft.refuse(ConfigError::Missing {
            place: draft.whole_file(),
            key: KEY.to_owned(),
            remedy: "name the file that holds the password of ARI's user, or set \
                     asterisk.control to none"
                .to_owned(),
        });
    }
    read(draft, KEY, parse::secret_file).unwrap_or_else(|| Secret::new(String::new()))
}

fn extensions(draft: &mut Draft, control: &Control, command: Command) -> Vec<Extension> {
    let drafts = std::mem::take(&mut draft.extensions);
    if let Some(beyond) = drafts.get(RTP_PORTS_MAX) {
        draft.refuse(ConfigError::Conflict {
            place: beyond.place.clone(),
            key: beyond.label.clone(),
            reason: format!("more than {RTP_PORTS_MAX} extensions in one process"),
        });
        return Vec::new();
    }
    let extensions: Vec<Extension> = drafts
        .iter()
        .map(|extension| self::extension(draft, extension, command))
        .collect();
    check_unique(draft, &drafts, &extensions);
    check_partners(draft, &drafts, &extensions);
    if matches!(control, Control::Ari(_)) {
        check_reachable(draft, &drafts, &extensions);
    }
    extensions
}

/// One extension. What was refused is empty in the result.
fn extension(draft: &mut Draft, written: &ExtensionDraft, command: Command) -> Extension {
    fn required<T>(
        draft: &mut Draft,
        written: &ExtensionDraft,
        (key, remedy): (&str, &str),
        parse: impl FnOnce(&Setting) -> Result<T, Refusal>,
    ) -> Option<T> {
        if !written.values.contains_key(key) {
            draft.refuse(ConfigError::Missing {
                place: written.place.clone(),
                key: format!("{}.{key}", written.label),
                remedy: remedy.to_owned(),
            });
        }
        optional(draft, written, key, parse)
    }
    fn optional<T>(
        draft: &mut Draft,
        written: &ExtensionDraft,
        key: &str,
        parse: impl FnOnce(&Setting) -> Result<T, Refusal>,
    ) -> Option<T> {
        let setting = written.values.get(key)?;
        parse(setting)
            .map_err(|refusal| draft.refuse(refusal.at(setting)))
            .ok()
    }
    let number = ("number", "it is what callers dial, like \"7777\"");
    let language = (
        "language",
        "it is what its callers speak and hear, like \"en\"",
    );
    let partner = (
        "partner",
        "it is the number of the extension its callers are interpreted with",
    );
    let listen = (
        "listen",
        "it is where Asterisk sends the audio, like \"127.0.0.1:5000\"",
    );
    let number = required(draft, written, number, parse::number).unwrap_or_default();
    let language = required(draft, written, language, parse::language).unwrap_or_default();
    let partner = required(draft, written, partner, parse::number).unwrap_or_default();
    let listen = required(draft, written, listen, parse::address).unwrap_or(NO_ADDRESS);
    optional(draft, written, "transport", parse::transport);
    // Prompts are played by the gateway: a translator on another machine has no such files.
    let (on_failure, waiting_prompt) = if command.runs_gateway() {
        (
            optional(draft, written, "on_failure", parse::on_failure),
            optional(draft, written, "waiting_prompt", parse::file),
        )
    } else {
        (None, None)
    };
    Extension {
        number,
        language,
        partner,
        listen,
        uplink: optional(draft, written, "uplink", parse::uplink).unwrap_or(Codec::Slin16),
        // Not g722, whose encoder costs four times the rest of a leg's frame: phones that hear a
        // narrow band gain nothing by it.
        downlink: optional(draft, written, "downlink", parse::downlink).unwrap_or(Codec::Slin),
        on_failure: on_failure.unwrap_or(OnFailure::Silence),
        waiting_prompt,
        comfort: optional(draft, written, "comfort_noise_dbm0", parse::comfort_noise)
            .unwrap_or(Comfort::Silence),
    }
}

/// No number and no port twice.
fn check_unique(draft: &mut Draft, drafts: &[ExtensionDraft], extensions: &[Extension]) {
    for (index, later) in extensions.iter().enumerate() {
        for (earlier, earlier_draft) in extensions[..index].iter().zip(drafts) {
            if !later.number.is_empty() && later.number == earlier.number {
                let reason = format!("{} is also {}", later.number, earlier_draft.label);
                conflict(draft, &drafts[index], "number", reason);
            }
            if share_a_port(later.listen, earlier.listen) {
                // What is written is to be changed, not what is a default.
                let is_default = |draft: &ExtensionDraft| {
                    draft
                        .values
                        .get("listen")
                        .is_some_and(|at| at.place == Place::Default)
                };
                let (blamed, other) = match is_default(&drafts[index]) {
                    true => (earlier_draft, &drafts[index]),
                    false => (&drafts[index], earlier_draft),
                };
                let reason = format!("{} is also the port of {}", later.listen, other.label);
                conflict(draft, blamed, "listen", reason);
            }
        }
    }
}

/// Whether two sockets could not be bound at once; port 0 is never the same.
fn share_a_port(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    overlap && one.port() != 0 && one.port() == other.port()
}

/// Partners exist and name each other.
fn check_partners(draft: &mut Draft, drafts: &[ExtensionDraft], extensions: &[Extension]) {
    // With a number refused, "no such extension" might be the wrong complaint.
    let all_named = extensions
        .iter()
        .all(|extension| !extension.number.is_empty());
    for (extension, written) in extensions.iter().zip(drafts) {
        let Extension {
            number, partner, ..
        } = extension;
        if partner.is_empty() || number.is_empty() {
            continue;
        }
        if partner == number {
            conflict(
                draft,
                written,
                "partner",
                "an extension is not its own partner".to_owned(),
            );
            continue;
        }
        match extensions.iter().find(|other| other.number == *partner) {
            None if all_named => {
                let reason = format!("no extension {partner} is configured");
                conflict(draft, written, "partner", reason);
            }
            Some(other) if !other.partner.is_empty() && other.partner != *number => {
                let reason = format!(
                    "{partner} is the partner of {}, not of {number}; partners name each other",
                    other.partner
                );
                conflict(draft, written, "partner", reason);
            }
            Some(_) | None => {}
        }
    }
}

/// Asterisk is told where to send: that cannot be "any address of this machine".
fn check_reachable(draft: &mut Draft, drafts: &[ExtensionDraft], extensions: &[Extension]) {
    for (extension, written) in extensions.iter().zip(drafts) {
        if extension.listen.ip().is_unspecified()
            && let Some(setting) = written.values.get("listen")
            && parse::address(setting).is_ok()
        {
            let reason = format!(
                "Asterisk is told to send to {}; use an address that it can reach",
                extension.listen
            );
            conflict(draft, written, "listen", reason);
        }
    }
}

fn conflict(draft: &mut Draft, extension: &ExtensionDraft, key: &str, reason: String) {
    let (place, key) = match extension.values.get(key) {
        Some(setting) => (setting.place.clone(), setting.name.clone()),
        None => (
            extension.place.clone(),
            format!("{}.{key}", extension.label),
        ),
    };
    draft.refuse(ConfigError::Conflict { place, key, reason });
}

fn translator(draft: &mut Draft) -> Translator {
    let engine = parse::choice(&[("loop", Engine::Loop), ("vendors", Engine::Vendors)]);
    Translator {
        listen: read(draft, "translator.listen", parse::address)
            .unwrap_or(defaults::TRANSLATOR_LISTEN),
        engine: read(draft, "translator.engine", engine).unwrap_or(Engine::Vendors),
        workers: read_usize(draft, "translator.workers", 1..=WORKERS_MAX)
            .unwrap_or(defaults::WORKERS),
        recognizers_max: read_usize(draft, "translator.recognizers_max", 1..=LEGS_MAX as i64)
            .unwrap_or(defaults::RECOGNIZERS_MAX),
    }
}

fn link(draft: &mut Draft, command: Command, translator: SocketAddr) -> Link {
    const KEY: &str = "link.url";
    let written = read(draft, KEY, parse::url(&["ws"]));
    if let Some(url) = &written
        && url.path.is_empty()
        && let Some(setting) = draft.values.get(KEY).cloned()
    {
        let shown = quoted(&url.to_string());
        let reason = format!("{shown} has no path; use one like ws://127.0.0.1:3002/translate");
        draft.refuse_value(&setting, reason);
    }
    let is_flag = draft
        .values
        .get(KEY)
        .is_some_and(|setting| setting.place == Place::Flag);
    let own = || own_link(translator);
    let Some((place, port)) = draft.websocket_port.clone().filter(|_| !is_flag) else {
        return Link {
            url: written.unwrap_or_else(own).to_string(),
        };
    };
    let overridden = match (command, written) {
        (Command::Gateway, written) => Url {
            port: Some(port),
            ..written.unwrap_or_else(own)
        },
        (Command::Run, Some(written)) => Url {
            port: Some(port),
            ..written
        },
        (Command::Run | Command::Topology | Command::Translator, _) => {
            if port != translator.port() {
                draft.notes.push(format!(
                    "{place}WEBSOCKET_PORT: has no effect: the translator serves HTTP and \
                     WebSocket on one port, {}",
                    translator.port()
                ));
            }
            own()
        }
    };
    Link {
        url: overridden.to_string(),
    }
}

/// Where a translator that listens at `listen` is reached from its own machine.
fn own_link(listen: SocketAddr) -> Url {
    let ip = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    Url {
        scheme: "ws",
        host: ip,
        port: Some(listen.port()),
        path: "/translate".to_owned(),
    }
}

/// A vendor's base URL. Unencrypted ones are for stand-ins on this machine; elsewhere, say so.
fn vendor_url(
    draft: &mut Draft,
    vendor: Vendor,
    schemes: &'static [&'static str],
) -> Option<String> {
    let key = format!("{}.url", vendor.section());
    let url = read(draft, &key, parse::url(schemes))?;
    if url.is_exposed() {
        let place = draft.values[&key].place.clone();
        draft.notes.push(format!(
            "{place}{key}: the API key will travel unencrypted to {url}"
        ));
    }
    Some(url.to_string())
}

/// A vendor's key: from a variable, or else from its file.
fn vendor_key(draft: &mut Draft, vendor: Vendor, needed: Needed) -> Option<Secret> {
    if let Some(key) = draft.keys.remove(&vendor) {
        return Some(key);
    }
    // A gateway may not be allowed to read the translator's keys, and need not.
    if needed == Needed::No {
        return None;
    }
    let key = format!("{}.key_file", vendor.section());
    if !draft.values.contains_key(&key) {
        draft.refuse(ConfigError::Missing {
            place: draft.whole_file(),
            remedy: format!(
                "set {} in the environment or the --env-file, or name the file that holds the key",
                vendor.variable()
            ),
            key: key.clone(),
        });
    }
    read(draft, &key, parse::secret_file)
}

fn deepgram(draft: &mut Draft, needed: Needed) -> Deepgram {
    /// The vendor's own least; its advice for conversation ends at 500 ms.
    const ENDPOINTING_MS: std::ops::RangeInclusive<i64> = 10..=5_000;
    Deepgram {
        url: vendor_url(draft, Vendor::Deepgram, &["wss", "ws"])
            .unwrap_or_else(|| defaults::DEEPGRAM_URL.to_owned()),
        key: vendor_key(draft, Vendor::Deepgram, needed),
        model: read_token(draft, "deepgram.model", defaults::DEEPGRAM_MODEL),
        endpointing_ms: read_integer(draft, "deepgram.endpointing_ms", ENDPOINTING_MS)
            .unwrap_or(defaults::ENDPOINTING_MS),
    }
}

fn deepl(draft: &mut Draft, needed: Needed) -> DeepL {
    /// Ends the keys of free accounts, which have a host of their own.
    const FREE_KEY_SUFFIX: &str = ":fx";
    let url = vendor_url(draft, Vendor::DeepL, &["https", "http"]);
    let key = vendor_key(draft, Vendor::DeepL, needed);
    let is_free = key
        .as_ref()
        .is_some_and(|key| key.reveal().ends_with(FREE_KEY_SUFFIX));
    let host = if is_free {
        defaults::DEEPL_FREE_URL
    } else {
        defaults::DEEPL_URL
    };
    DeepL {
        url: url.unwrap_or_else(|| host.to_owned()),
        key,
    }
}

fn elevenlabs(draft: &mut Draft, needed: Needed, extensions: &[Extension]) -> ElevenLabs {
    ElevenLabs {
        url: vendor_url(draft, Vendor::ElevenLabs, &["https", "http"])
            .unwrap_or_else(|| defaults::ELEVENLABS_URL.to_owned()),
        key: vendor_key(draft, Vendor::ElevenLabs, needed),
        model: read_token(draft, "elevenlabs.model", defaults::ELEVENLABS_MODEL),
        voices: voices(draft, extensions),
    }
}

/// One voice for every language spoken here: that of the tag, of its language ("en" for "en-GB"),
/// or the default. Voices of further languages are kept as well.
fn voices(draft: &mut Draft, extensions: &[Extension]) -> Vec<(String, String)> {
    let keys: Vec<String> = draft
        .values
        .keys()
        .filter(|key| key.starts_with(VOICES))
        .cloned()
        .collect();
    let mut voices: Vec<(String, String)> = Vec::new();
    for key in keys {
        let written = key
            .strip_prefix(VOICES)
            .unwrap_or_default()
            .trim_start_matches('.');
        match parse::spelled_language(written) {
            None => {
                let setting = draft.values[&key].clone();
                let reason = format!("{} is not a language tag, like en", quoted(written));
                draft.refuse_value(&setting, reason);
            }
            Some(language) => {
                if let Some(voice) = read(draft, &key, parse::token) {
                    voices.push((language, voice));
                }
            }
        }
    }
    let voice_of = |voices: &[(String, String)], language: &str| {
        voices
            .iter()
            .find(|(known, _)| known == language)
            .map(|(_, voice)| voice.clone())
    };
    for Extension { language, .. } in extensions {
        if voice_of(&voices, language).is_none() {
            let primary = language.split('-').next().unwrap_or_default();
            let voice = voice_of(&voices, primary).unwrap_or_else(|| defaults::VOICE.to_owned());
            voices.push((language.clone(), voice));
        }
    }
    voices
}

fn hume(draft: &mut Draft) -> Hume {
    note_unused(draft, "hume.", "this version reads no emotion from voices");
    Hume {
        url: vendor_url(draft, Vendor::Hume, &["wss", "ws"])
            .unwrap_or_else(|| defaults::HUME_URL.to_owned()),
        key: vendor_key(draft, Vendor::Hume, Needed::No),
    }
}

fn monitor(draft: &mut Draft) -> Monitor {
    note_unused(draft, "monitor.", "this version has no monitor");
    Monitor {
        listen: read(draft, "monitor.listen", parse::address).unwrap_or(defaults::MONITOR_LISTEN),
    }
}

/// Says of every setting of a table that it has no effect, rather than let its author believe so.
fn note_unused(draft: &mut Draft, prefix: &str, why: &str) {
    let unused = draft
        .values
        .iter()
        .filter(|(key, _)| key.starts_with(prefix));
    let notes: Vec<String> = unused
        .map(|(_, Setting { place, name, .. })| format!("{place}{name}: has no effect: {why}"))
        .collect();
    draft.notes.extend(notes);
}

fn realtime(draft: &mut Draft) -> Realtime {
    /// The kernel's largest CPU set, `CPU_SETSIZE` of sched.h, less one.
    const CORE_MAX: i64 = 1023;
    /// sched(7): SCHED_FIFO has priorities 1 (low) to 99 (high); 0 asks for none.
    const PRIORITY: std::ops::RangeInclusive<i64> = 0..=99;
    let tile_pairs = read_usize(draft, "realtime.tile_pairs", 1..=TILE_PAIRS_MAX as i64)
        .unwrap_or(defaults::TILE_PAIRS);
    let mut cores = |key| cores(draft, key, 0..=CORE_MAX, tile_pairs);
    let (rx_cores, tx_cores) = (cores("realtime.rx_core"), cores("realtime.tx_core"));
    Realtime {
        legs_max: read_usize(draft, "realtime.legs_max", 1..=LEGS_MAX as i64)
            .unwrap_or(defaults::LEGS_MAX),
        tile_pairs,
        rx_cores,
        tx_cores,
        priority: read(draft, "realtime.priority", parse::integer(PRIORITY))
            .map_or(defaults::PRIORITY, |value| u8::try_from(value).ok())
            .filter(|priority| *priority > 0),
    }
}

/// One core for each pair of tiles, or none at all.
fn cores(
    draft: &mut Draft,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
    tile_pairs: usize,
) -> Vec<usize> {
    let cores = read(draft, key, parse::integers(range)).unwrap_or_default();
    if let Some(setting) = draft.values.get(key).cloned()
        && !cores.is_empty()
        && cores.len() != tile_pairs
    {
        let (count, s) = (cores.len(), if cores.len() == 1 { "" } else { "s" });
        let reason = format!(
            "names {count} core{s}, but realtime.tile_pairs is {tile_pairs}: name one for each pair"
        );
        draft.refuse_value(&setting, reason);
    }
    let cores = cores.into_iter().map(usize::try_from);
    cores.filter_map(Result::ok).collect()
}
