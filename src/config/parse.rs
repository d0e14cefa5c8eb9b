//! One written value → one checked value. Pure, but for looking whether a named file is there.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use diglot_rt::msg::{Codec, Comfort};
use diglot_rt::units::Dbm0;

use super::draft::{Setting, Value};
use super::error::{ConfigError, Place, alternatives, quoted};
use super::read::{SECRET_BYTES_MAX, read_text};
use super::{OnFailure, Secret};

/// E.164 §6: an international number has 15 digits at most.
const NUMBER_DIGITS_MAX: usize = 15;

/// RFC 5646 §4.4.1: a tag of 35 characters holds every language, script and region.
const LANGUAGE_BYTES_MAX: usize = 35;

/// Longest name of a model, voice, user or application.
const TOKEN_BYTES_MAX: usize = 64;

/// Why a value is not accepted.
pub(super) enum Refusal {
    /// Not this TOML type.
    Type {
        found: &'static str,
        expected: &'static str,
    },
    /// Not this value; the sentence says what is accepted.
    Value(String),
}

impl Refusal {
    /// The error to report for the setting that was refused.
    pub(super) fn at(self, setting: &Setting) -> ConfigError {
        let (place, key) = (setting.place.clone(), setting.name.clone());
        match self {
            Self::Type { found, expected } => ConfigError::WrongType {
                place,
                key,
                found,
                expected,
            },
            Self::Value(reason) => ConfigError::BadValue { place, key, reason },
        }
    }
}

/// What an array is called in a refusal.
const ARRAY: &str = "an array";

/// Any text.
pub(super) fn text(setting: &Setting) -> Result<&str, Refusal> {
    const EXPECTED: &str = "a string";
    match &setting.value {
        Value::Text(text) => Ok(text),
        Value::Integer(_) => Err(Refusal::Type {
            found: "an integer",
            expected: EXPECTED,
        }),
        Value::Integers(_) => Err(Refusal::Type {
            found: ARRAY,
            expected: EXPECTED,
        }),
        Value::Other(found) => Err(Refusal::Type {
            found,
            expected: EXPECTED,
        }),
    }
}

/// An integer in a range; from a flag or a variable also written as text.
pub(super) fn integer(range: RangeInclusive<i64>) -> impl FnOnce(&Setting) -> Result<i64, Refusal> {
    move |setting| {
        const EXPECTED: &str = "an integer";
        let is_toml = matches!(setting.place, Place::Toml { .. });
        let (written, value) = match &setting.value {
            Value::Integer(value) => (value.to_string(), Some(*value)),
            Value::Text(_) if is_toml => {
                return Err(Refusal::Type {
                    found: "a string",
                    expected: EXPECTED,
                });
            }
            Value::Text(text) => (quoted(text), text.parse().ok()),
            Value::Integers(_) => {
                return Err(Refusal::Type {
                    found: ARRAY,
                    expected: EXPECTED,
                });
            }
            Value::Other(found) => {
                return Err(Refusal::Type {
                    found,
                    expected: EXPECTED,
                });
            }
        };
        in_range(written, value, &range)
    }
}

/// An integer in a range or an array of such; from a flag also written as `2,3`.
pub(super) fn integers(
    range: RangeInclusive<i64>,
) -> impl FnOnce(&Setting) -> Result<Vec<i64>, Refusal> {
    move |setting| match &setting.value {
        Value::Integers(values) => values
            .iter()
            .map(|value| in_range(value.to_string(), Some(*value), &range))
            .collect(),
        Value::Text(text) if !matches!(setting.place, Place::Toml { .. }) => text
            .split(',')
            .map(|part| in_range(quoted(part), part.trim().parse().ok(), &range))
            .collect(),
        Value::Integer(_) | Value::Other(_) | Value::Text(_) => {
            integer(range)(setting).map(|value| vec![value])
        }
    }
}

fn in_range(
    written: String,
    value: Option<i64>,
    range: &RangeInclusive<i64>,
) -> Result<i64, Refusal> {
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        Refusal::Value(format!(
            "{written} is not an integer from {least} to {most}"
        ))
    })
}

/// A UDP or TCP port of a variable; 0 lets the system choose.
pub(super) fn port(setting: &Setting) -> Result<u16, Refusal> {
    let written = text(setting)?;
    written.parse().map_err(|_| {
        Refusal::Value(format!(
            "{} is not a port, a number from 0 to 65535",
            quoted(written)
        ))
    })
}

/// A numeric address and port; port 0 lets the system choose.
pub(super) fn address(setting: &Setting) -> Result<SocketAddr, Refusal> {
    let written = text(setting)?;
    written.parse().map_err(|_| {
        Refusal::Value(format!(
            "{} is not a numeric address and port, like 127.0.0.1:5000",
            quoted(written)
        ))
    })
}

/// One of a few names.
pub(super) fn choice<T: Copy + 'static>(
    options: &'static [(&'static str, T)],
) -> impl FnOnce(&Setting) -> Result<T, Refusal> {
    move |setting| {
        let written = text(setting)?;
        options
            .iter()
            .find(|(name, _)| *name == written)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names = alternatives(options.iter().map(|(name, _)| *name));
                Refusal::Value(format!("{} is not accepted; use {names}", quoted(written)))
            })
    }
}

/// Whether this can be an extension's number.
pub(super) fn is_number(written: &str) -> bool {
    (1..=NUMBER_DIGITS_MAX).contains(&written.len())
        && written.bytes().all(|byte| byte.is_ascii_digit())
}

/// An extension's number.
pub(super) fn number(setting: &Setting) -> Result<String, Refusal> {
    let written = match &setting.value {
        Value::Integer(_) => {
            let (found, expected) = ("an integer", "a string, like \"7777\"");
            return Err(Refusal::Type { found, expected });
        }
        Value::Text(_) | Value::Integers(_) | Value::Other(_) => text(setting)?,
    };
    if is_number(written) {
        return Ok(written.to_owned());
    }
    Err(Refusal::Value(format!(
        "{} is not 1 to {NUMBER_DIGITS_MAX} digits",
        quoted(written)
    )))
}

/// A language tag (BCP 47), in its usual spelling: "en", "pt-BR".
pub(super) fn language(setting: &Setting) -> Result<String, Refusal> {
    let written = text(setting)?;
    spelled_language(written).ok_or_else(|| {
        Refusal::Value(format!(
            "{} is not a language tag, like en or pt-BR",
            quoted(written)
        ))
    })
}

/// The usual spelling of a language tag (RFC 5646 §2.1.1), if it is one: language, then script,
/// region and the like.
pub(super) fn spelled_language(written: &str) -> Option<String> {
    if written.len() > LANGUAGE_BYTES_MAX {
        return None;
    }
    let mut subtags = written.split('-');
    let primary = subtags.next()?;
    let is_primary = matches!(primary.len(), 2 | 3);
    if !is_primary || !primary.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    let mut tag = primary.to_ascii_lowercase();
    for subtag in subtags {
        let is_subtag = (2..=8).contains(&subtag.len());
        if !is_subtag || !subtag.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        tag.push('-');
        match subtag.len() {
            2 => tag.push_str(&subtag.to_ascii_uppercase()),
            4 => {
                tag.push_str(&subtag[..1].to_ascii_uppercase());
                tag.push_str(&subtag[1..].to_ascii_lowercase());
            }
            _ => tag.push_str(&subtag.to_ascii_lowercase()),
        }
    }
    Some(tag)
}

/// What Asterisk sends us.
pub(super) fn uplink(setting: &Setting) -> Result<Codec, Refusal> {
    let written = text(setting)?;
    match written {
        "slin16" => Ok(Codec::Slin16),
        _ => static_codec(written)
            .ok_or_else(|| unknown_codec(written, "slin16, g722, slin, ulaw or alaw")),
    }
}

/// What we send Asterisk.
pub(super) fn downlink(setting: &Setting) -> Result<Codec, Refusal> {
    const ACCEPTED: &str = "g722, slin, ulaw or alaw";
    let written = text(setting)?;
    if written == "slin16" {
        return Err(Refusal::Value(format!(
            "\"slin16\" has a dynamic payload type, and Asterisk drops what comes back with one; \
             use {ACCEPTED}"
        )));
    }
    static_codec(written).ok_or_else(|| unknown_codec(written, ACCEPTED))
}

fn static_codec(name: &str) -> Option<Codec> {
    match name {
        "alaw" => Some(Codec::Alaw),
        "g722" => Some(Codec::G722),
        "slin" => Some(Codec::Slin),
        "ulaw" => Some(Codec::Ulaw),
        _ => None,
    }
}

fn unknown_codec(written: &str, accepted: &str) -> Refusal {
    Refusal::Value(format!(
        "{} is not a codec of this gateway; use {accepted}",
        quoted(written)
    ))
}

/// How audio travels. There is one way so far.
pub(super) fn transport(setting: &Setting) -> Result<(), Refusal> {
    match text(setting)? {
        "rtp" => Ok(()),
        "audiosocket" => Err(Refusal::Value(
            "\"audiosocket\" is not supported by this version; use rtp".to_owned(),
        )),
        other => Err(Refusal::Value(format!(
            "{} is not accepted; use rtp",
            quoted(other)
        ))),
    }
}

/// What a listener hears when interpreting fails.
pub(super) fn on_failure(setting: &Setting) -> Result<OnFailure, Refusal> {
    match text(setting)? {
        "original" => Ok(OnFailure::Original),
        "silence" => Ok(OnFailure::Silence),
        other => match other.strip_prefix("prompt:") {
            Some(file) => existing(setting, file).map(OnFailure::Prompt),
            None => Err(Refusal::Value(format!(
                "{} is not accepted; use silence, original or prompt:FILE",
                quoted(other)
            ))),
        },
    }
}

/// Levels of comfort noise, in dBm0. Above it is noise rather than comfort ([`Comfort::Noise`]),
/// below it is less than the last bit of G.711.
const COMFORT_NOISE_DBM0: RangeInclusive<i64> = -80..=-40;

/// The noise that a listener hears while nothing is said.
pub(super) fn comfort_noise(setting: &Setting) -> Result<Comfort, Refusal> {
    let level = integer(COMFORT_NOISE_DBM0)(setting)?;
    let level = i8::try_from(level).map_err(|_| Refusal::Value("out of range".to_owned()))?;
    Ok(Comfort::Noise(Dbm0(level)))
}

/// A name without spaces or marks: of a model, a voice, a user, an application.
pub(super) fn token(setting: &Setting) -> Result<String, Refusal> {
    let written = text(setting)?;
    let accepted = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=TOKEN_BYTES_MAX).contains(&written.len()) && written.bytes().all(accepted) {
        return Ok(written.to_owned());
    }
    Err(Refusal::Value(format!(
        "{} is not a name of 1 to {TOKEN_BYTES_MAX} letters, digits, dots, - or _",
        quoted(written)
    )))
}

/// A file that is there. A relative path starts from the folder of the file that names it.
pub(super) fn file(setting: &Setting) -> Result<PathBuf, Refusal> {
    existing(setting, text(setting)?)
}

fn existing(setting: &Setting, written: &str) -> Result<PathBuf, Refusal> {
    let path = located(setting, written)?;
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err(Refusal::Value(format!("{} is not a file", shown(&path)))),
        Err(error) => Err(Refusal::Value(format!(
            "{} cannot be read: {error}",
            shown(&path)
        ))),
    }
}

fn located(setting: &Setting, written: &str) -> Result<PathBuf, Refusal> {
    if written.is_empty() || written.contains('\0') {
        return Err(Refusal::Value(format!(
            "{} is not the path of a file",
            quoted(written)
        )));
    }
    Ok(setting.place.folder().join(written))
}

/// A key or password in a file of its own: its only line.
pub(super) fn secret_file(setting: &Setting) -> Result<Secret, Refusal> {
    let path = located(setting, text(setting)?)?;
    let content = read_text(&path, SECRET_BYTES_MAX, |_| Place::Default).map_err(|error| {
        Refusal::Value(match error {
            ConfigError::Unreadable { source, .. } => {
                format!("{} cannot be read: {source}", shown(&path))
            }
            _ => format!("{} does not hold one key or password", shown(&path)),
        })
    })?;
    checked_secret(content.trim())
        .map_err(|what| Refusal::Value(format!("{} {what}", shown(&path))))
}

/// A key or password itself. The refusal does not show it.
pub(super) fn secret(setting: &Setting) -> Result<Secret, Refusal> {
    checked_secret(text(setting)?.trim()).map_err(|what| Refusal::Value(what.to_owned()))
}

/// Keys travel in HTTP headers, so they are visible ASCII (RFC 9110 §5.5).
fn checked_secret(value: &str) -> Result<Secret, &'static str> {
    if value.is_empty() {
        return Err("is empty");
    }
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds a space, a line break or a letter that no key has");
    }
    Ok(Secret::new(value.to_owned()))
}

fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The parts of a base URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url {
    /// One of those that were asked for.
    pub(super) scheme: &'static str,
    /// Name or address; an IPv6 address stands in brackets.
    pub(super) host: String,
    /// Absent: the scheme's own.
    pub(super) port: Option<u16>,
    /// Empty, or begins with a slash; does not end with one.
    pub(super) path: String,
}

impl Url {
    /// Whether what is sent there leaves this machine unencrypted.
    pub(super) fn is_exposed(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        let is_local = self.host == "localhost"
            || address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        !is_local && matches!(self.scheme, "http" | "ws")
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

/// A base URL with one of these schemes.
pub(super) fn url(
    schemes: &'static [&'static str],
) -> impl FnOnce(&Setting) -> Result<Url, Refusal> {
    move |setting| {
        let written = text(setting)?;
        let forms = || alternatives(schemes.iter().copied());
        // Whoever writes a password into a URL does not want to read it in a log.
        if written.contains('@') {
            return Err(Refusal::Value(
                "a URL here holds no user or password".to_owned(),
            ));
        }
        let Some((scheme, rest)) = schemes.iter().find_map(|scheme| {
            let rest = written.strip_prefix(scheme)?.strip_prefix("://")?;
            Some((*scheme, rest))
        }) else {
            return Err(Refusal::Value(format!(
                "{} is not a URL with scheme {}",
                quoted(written),
                forms()
            )));
        };
        split_url(scheme, rest).ok_or_else(|| {
            Refusal::Value(format!(
                "{} is not a URL like {scheme}://host:port",
                quoted(written)
            ))
        })
    }
}

fn split_url(scheme: &'static str, rest: &str) -> Option<Url> {
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => {
            let port = &authority[colon + 1..];
            // `u16::from_str` takes a plus sign as well.
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            (
                &authority[..colon],
                Some(port.parse().ok().filter(|_| digits)?),
            )
        }
        _ => (authority, None),
    };
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(in_host),
    };
    let in_path = |byte: u8| in_host(byte) || b"/~%+".contains(&byte);
    if !is_host || !path.bytes().all(in_path) {
        return None;
    }
    let path = path.trim_end_matches('/').to_owned();
    Some(Url {
        scheme,
        host: host.to_owned(),
        port,
        path,
    })
}
