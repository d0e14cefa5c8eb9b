//! Variables → draft: the names of the existing environment file, from that file and from the
//! process environment. The process environment is read once and never changed.
//!
//! Only lines that set one of our names are looked at, each by itself: whatever else such a file
//! holds, well formed or not, is none of our business and cannot swallow a line of ours.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::draft::{Draft, ExtensionDraft, Setting, Value};
use super::error::{ConfigError, Place};
use super::parse;
use super::{Vendor, defaults};

/// A variable that was set.
pub(super) struct Variable {
    place: Place,
    name: String,
    meaning: Meaning,
    /// Not empty: an empty variable is an unset one.
    value: String,
}

/// What a variable is for.
enum Meaning {
    /// `DEEPGRAM_API_KEY` and the like.
    Key(Vendor),
    /// `EXT_<number>_LANGUAGE`.
    Language(String),
    /// `GATEWAY_RTP_PORT_<number>`.
    RtpPort(String),
    /// `TRANSLATION_SERVER_PORT`.
    TranslatorPort,
    /// `WEBSOCKET_PORT`.
    WebsocketPort,
}

impl Meaning {
    fn of(name: &str) -> Option<Self> {
        if let Some(vendor) = Vendor::ALL
            .into_iter()
            .find(|vendor| vendor.variable() == name)
        {
            return Some(Self::Key(vendor));
        }
        let extension = |number: &str| parse::is_number(number).then(|| number.to_owned());
        if let Some(number) = name.strip_prefix("GATEWAY_RTP_PORT_") {
            return extension(number).map(Self::RtpPort);
        }
        if let Some(rest) = name.strip_prefix("EXT_") {
            return extension(rest.strip_suffix("_LANGUAGE")?).map(Self::Language);
        }
        match name {
            "TRANSLATION_SERVER_PORT" => Some(Self::TranslatorPort),
            "WEBSOCKET_PORT" => Some(Self::WebsocketPort),
            _ => None,
        }
    }

    fn extension(&self) -> Option<&str> {
        match self {
            Self::Language(number) | Self::RtpPort(number) => Some(number),
            Self::Key(_) | Self::TranslatorPort | Self::WebsocketPort => None,
        }
    }
}

/// Our variables of a `.env` file, in its order. Lines that cannot be read are recorded as errors.
pub(super) fn from_file(draft: &mut Draft, path: &Path, text: &str) -> Vec<Variable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let Some((name, written)) = content.split_once('=') else {
            continue;
        };
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        let Some(meaning) = Meaning::of(name) else {
            continue;
        };
        let place = Place::EnvFile {
            path: path.to_owned(),
            line,
        };
        match unquoted(name, written) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                variables.push(Variable {
                    place,
                    name: name.to_owned(),
                    meaning,
                    value,
                });
            }
            Err(reason) => draft.refuse(ConfigError::BadValue {
                place,
                key: name.to_owned(),
                reason: reason.to_owned(),
            }),
        }
    }
    variables
}

/// Our variables of the process environment.
pub(super) fn from_environment(
    draft: &mut Draft,
    environment: &[(OsString, OsString)],
) -> Vec<Variable> {
    let mut variables = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str() else { continue };
        let Some(meaning) = Meaning::of(name) else {
            continue;
        };
        let (place, name) = (Place::Environment, name.to_owned());
        match value.to_str() {
            Some("") => {}
            Some(value) => {
                variables.push(Variable {
                    place,
                    name,
                    meaning,
                    value: value.to_owned(),
                });
            }
            None => draft.refuse(ConfigError::BadValue {
                place,
                key: name,
                reason: "is not UTF-8 text".to_owned(),
            }),
        }
    }
    variables
}

/// Lays variables over the draft; the later of two with the same name holds.
pub(super) fn apply(draft: &mut Draft, variables: Vec<Variable>) {
    if draft.extensions.is_empty() {
        name_extensions(draft, &variables);
    }
    for variable in variables {
        apply_one(draft, variable);
    }
}

/// The extensions of a configuration whose file lists none: those that variables name, or 7777 and
/// 8888. Two are partners; who is partner of whom among more only a file can say.
fn name_extensions(draft: &mut Draft, variables: &[Variable]) {
    let named: BTreeSet<&str> = variables
        .iter()
        .filter_map(|v| v.meaning.extension())
        .collect();
    let defaults: BTreeSet<&str> = defaults::EXTENSIONS
        .iter()
        .map(|known| known.number)
        .collect();
    let numbers: Vec<&str> = if named.is_subset(&defaults) {
        defaults
    } else {
        named
    }
    .into_iter()
    .collect();
    let [first, second] = numbers[..] else {
        draft.refuse(ConfigError::Missing {
            place: draft.whole_file(),
            key: "extension".to_owned(),
            remedy: format!(
                "variables name {}, which is not a pair; list extensions and their partners as \
                 [[extension]] in a TOML file",
                numbers.join(", ")
            ),
        });
        return;
    };
    for (number, partner) in [(first, second), (second, first)] {
        draft.extensions.push(default_extension(number, partner));
    }
}

fn default_extension(number: &str, partner: &str) -> ExtensionDraft {
    let label = format!("extension.{number}");
    let mut extension = ExtensionDraft {
        place: Place::Default,
        label: label.clone(),
        values: Default::default(),
    };
    let mut set = |key: &str, value: String| {
        let name = format!("{label}.{key}");
        let setting = Setting {
            place: Place::Default,
            name,
            value: Value::Text(value),
        };
        extension.values.insert(key.to_owned(), setting);
    };
    set("number", number.to_owned());
    set("partner", partner.to_owned());
    if let Some(known) = defaults::EXTENSIONS
        .iter()
        .find(|known| known.number == number)
    {
        set("language", known.language.to_owned());
        set(
            "listen",
            SocketAddr::new(defaults::LISTEN_IP, known.port).to_string(),
        );
    }
    extension
}

fn apply_one(draft: &mut Draft, variable: Variable) {
    let Variable {
        place,
        name,
        meaning,
        value,
    } = variable;
    let setting = Setting {
        place,
        name,
        value: Value::Text(value),
    };
    match meaning {
        Meaning::Key(vendor) => match parse::secret(&setting) {
            Ok(key) => {
                draft.keys.insert(vendor, key);
            }
            Err(refusal) => draft.refuse(refusal.at(&setting)),
        },
        Meaning::Language(number) => extension_value(draft, &number, "language", setting),
        Meaning::RtpPort(number) => {
            let Some(port) = port(draft, &setting) else {
                return;
            };
            let written = draft
                .extensions
                .iter()
                .find(|extension| extension.number() == Some(&number))
                .and_then(|extension| extension.values.get("listen"));
            let setting = with_port(
                written,
                SocketAddr::new(defaults::LISTEN_IP, 0),
                port,
                setting,
            );
            extension_value(draft, &number, "listen", setting);
        }
        Meaning::TranslatorPort => {
            let Some(port) = port(draft, &setting) else {
                return;
            };
            let written = draft.values.get("translator.listen");
            let setting = with_port(written, defaults::TRANSLATOR_LISTEN, port, setting);
            draft.values.insert("translator.listen".to_owned(), setting);
        }
        Meaning::WebsocketPort => {
            if let Some(port) = port(draft, &setting) {
                draft.websocket_port = Some((setting.place, port));
            }
        }
    }
}

fn extension_value(draft: &mut Draft, number: &str, key: &str, setting: Setting) {
    match draft
        .extensions
        .iter_mut()
        .find(|extension| extension.number() == Some(number))
    {
        Some(extension) => {
            extension.values.insert(key.to_owned(), setting);
        }
        // One environment file may serve several stacks, each with its own extensions.
        None => draft.notes.push(format!(
            "{}{}: has no effect: extension {number} is not configured here",
            setting.place, setting.name
        )),
    }
}

/// A port variable changes the port and keeps the host. A host that cannot be read stays as it is,
/// to be reported where it was written.
fn with_port(
    written: Option<&Setting>,
    default: SocketAddr,
    port: u16,
    variable: Setting,
) -> Setting {
    let address = match written.map(parse::address) {
        None => default,
        Some(Ok(address)) => address,
        Some(Err(_)) => return written.cloned().unwrap_or(variable),
    };
    let value = Value::Text(SocketAddr::new(address.ip(), port).to_string());
    Setting { value, ..variable }
}

fn port(draft: &mut Draft, setting: &Setting) -> Option<u16> {
    match parse::port(setting) {
        Ok(port) => Some(port),
        Err(refusal) => {
            draft.refuse(refusal.at(setting));
            None
        }
    }
}

/// The value of one line, by the rules of `.env` files. Errors do not quote it: it may be secret.
fn unquoted(name: &str, written: &str) -> Result<String, &'static str> {
    let single_quoted = written.trim_start().starts_with('\'');
    if written.contains('$') && !single_quoted {
        return Err("holds a $, which would stand for another variable; put it in single quotes");
    }
    let line = format!("{name}={written}\n");
    match dotenvy::from_read_iter(line.as_bytes()).next() {
        Some(Ok((_, value))) => Ok(value),
        Some(Err(_)) | None => {
            Err("cannot be read; put the value in quotes and close them on the same line")
        }
    }
}
