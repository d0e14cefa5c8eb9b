//! A configuration while it is being put together: what every source says, values with their place.
//!
//! All sources speak through this one table, so a flag, a variable and a line of TOML are laid over
//! one another, checked and reported in the same way. Serde structs for the file were tried and
//! dropped: their errors come in alphabetical order and without the path, and flags would need a
//! second way in. Nothing here knows what a value means; that is `build`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, Place, alternatives, nearest, shown_key};
use super::{Secret, Vendor};

/// The tables of the file and their keys. A key that is not here is an error.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    (
        "asterisk",
        &[
            "control",
            "url",
            "user",
            "password_file",
            "app",
            "leg_timeout_ms",
        ],
    ),
    (
        EXTENSION,
        &[
            "number",
            "language",
            "partner",
            "transport",
            "listen",
            "uplink",
            "downlink",
            "on_failure",
            "waiting_prompt",
            "comfort_noise_dbm0",
        ],
    ),
    ("link", &["url"]),
    (
        "translator",
        &["listen", "engine", "workers", "recognizers_max"],
    ),
    ("monitor", &["listen"]),
    ("deepgram", &["url", "key_file", "model", "endpointing_ms"]),
    ("deepl", &["url", "key_file"]),
    ("elevenlabs", &["url", "key_file", "model", "voices"]),
    ("hume", &["url", "key_file"]),
    (
        "realtime",
        &["legs_max", "tile_pairs", "rx_core", "tx_core", "priority"],
    ),
];

/// The table that may stand many times.
pub(super) const EXTENSION: &str = "extension";

/// The table of free keys: one for every language.
pub(super) const VOICES: &str = "elevenlabs.voices";

/// One value as it was written.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Where.
    pub(super) place: Place,
    /// The key as the reader knows it, or the variable's name.
    pub(super) name: String,
    /// What.
    pub(super) value: Value,
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A TOML integer that fits.
    Integer(i64),
    /// A TOML array of such integers.
    Integers(Vec<i64>),
    /// A TOML value that no key takes, by the name of its type.
    Other(&'static str),
    /// A TOML string; or a flag or variable, which may stand for a number as well.
    Text(String),
}

/// The settings of one extension.
#[derive(Debug)]
pub(super) struct ExtensionDraft {
    /// Where it begins.
    pub(super) place: Place,
    /// What its keys are called: `extension[0]`, or `extension.7777` if no file names it.
    pub(super) label: String,
    /// By key.
    pub(super) values: BTreeMap<String, Setting>,
}

impl ExtensionDraft {
    /// The number as written, if it is text.
    pub(super) fn number(&self) -> Option<&str> {
        match &self.values.get("number")?.value {
            Value::Text(number) => Some(number),
            Value::Integer(_) | Value::Integers(_) | Value::Other(_) => None,
        }
    }
}

/// Everything said so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The TOML file, if there is one.
    pub(super) toml: Option<PathBuf>,
    /// By `section.key`.
    pub(super) values: BTreeMap<String, Setting>,
    /// In the order of the file.
    pub(super) extensions: Vec<ExtensionDraft>,
    /// Keys found in variables.
    pub(super) keys: BTreeMap<Vendor, Secret>,
    /// `WEBSOCKET_PORT`; what it means depends on the command.
    pub(super) websocket_port: Option<(Place, u16)>,
    /// What was set and has no effect.
    pub(super) notes: Vec<String>,
    errors: Vec<ConfigError>,
}

impl Draft {
    /// Records an error; reading goes on, so that the first one of the file is the one reported.
    pub(super) fn refuse(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// Records a value that cannot be accepted.
    pub(super) fn refuse_value(&mut self, setting: &Setting, reason: String) {
        self.refuse(ConfigError::BadValue {
            place: setting.place.clone(),
            key: setting.name.clone(),
            reason,
        });
    }

    /// The error to report: the first by [`ConfigError::order`], in file order.
    pub(super) fn take_first_error(&mut self) -> Option<ConfigError> {
        let first = (0..self.errors.len()).min_by_key(|index| self.errors[*index].order())?;
        Some(self.errors.swap_remove(first))
    }

    /// Where something missing could be written.
    pub(super) fn whole_file(&self) -> Place {
        match &self.toml {
            Some(path) => Place::Toml {
                path: path.clone(),
                line: None,
            },
            None => Place::Default,
        }
    }

    /// Lays the settings of `--set` over all others.
    pub(super) fn apply_flags(&mut self, flags: &[(String, String)]) {
        for (key, value) in flags {
            let setting = Setting {
                place: Place::Flag,
                name: shown_key(key),
                value: Value::Text(value.clone()),
            };
            self.apply_flag(key, setting);
        }
    }

    fn apply_flag(&mut self, key: &str, setting: Setting) {
        if let Some(rest) = key.strip_prefix("extension.") {
            self.apply_extension_flag(rest, setting);
            return;
        }
        let voice = key
            .strip_prefix(VOICES)
            .is_some_and(|rest| rest.starts_with('.'));
        let known = key.split_once('.').is_some_and(|(section, name)| {
            key != VOICES && section != EXTENSION && keys_of(section).contains(&name)
        });
        if voice || known {
            self.values.insert(key.to_owned(), setting);
            return;
        }
        let hint = match key.split_once('.') {
            Some((section, name)) if !keys_of(section).is_empty() => hint_key(section, name),
            Some((section, _)) => hint_section(section),
            None => "write section.key=value, like translator.listen=127.0.0.1:3002".to_owned(),
        };
        self.refuse(ConfigError::UnknownKey {
            place: Place::Flag,
            key: shown_key(key),
            hint,
        });
    }

    fn apply_extension_flag(&mut self, rest: &str, setting: Setting) {
        let (number, name) = rest.rsplit_once('.').unwrap_or((rest, ""));
        let found = self
            .extensions
            .iter_mut()
            .find(|draft| draft.number() == Some(number));
        let hint = match found {
            None => "no such extension is configured".to_owned(),
            // A new number would leave the partner behind: that is a change for the file.
            Some(_) if name == "number" => "a number is changed in the TOML file only".to_owned(),
            Some(draft) if keys_of(EXTENSION).contains(&name) => {
                draft.values.insert(name.to_owned(), setting);
                return;
            }
            Some(_) => hint_key(EXTENSION, name),
        };
        let key = setting.name;
        self.refuse(ConfigError::UnknownKey {
            place: Place::Flag,
            key,
            hint,
        });
    }
}

/// The keys of a table; none if there is no such table.
pub(super) fn keys_of(section: &str) -> &'static [&'static str] {
    SECTIONS
        .iter()
        .find(|(name, _)| *name == section)
        .map_or(&[], |(_, keys)| keys)
}

/// What to write in place of an unknown key.
pub(super) fn hint_key(section: &str, key: &str) -> String {
    if let Some(vendor) = Vendor::of_section(section)
        && matches!(key, "key" | "api_key" | "token")
    {
        let variable = vendor.variable();
        return format!(
            "a key is not written here but in {variable} or in a file, {section}.key_file"
        );
    }
    if section == "asterisk" && key == "password" {
        return "a password is not written here but in a file, asterisk.password_file".to_owned();
    }
    match nearest(key, keys_of(section).iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => {
            format!(
                "[{section}] has {}",
                alternatives(keys_of(section).iter().copied())
            )
        }
    }
}

/// What to write in place of an unknown table.
pub(super) fn hint_section(section: &str) -> String {
    let names = || SECTIONS.iter().map(|(name, _)| *name);
    match nearest(section, names()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("the tables are {}", alternatives(names())),
    }
}
