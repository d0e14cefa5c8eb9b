//! TOML text → draft. Knows tables and keys, not values.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{self, Draft, EXTENSION, ExtensionDraft, Setting, VOICES, Value};
use super::error::{ConfigError, Place, shown_key};
use super::read::line_of;

/// Lays a TOML file over the defaults.
///
/// # Errors
/// [`ConfigError::Syntax`] only; whatever else is wrong is recorded in the draft.
pub(super) fn apply(draft: &mut Draft, path: &Path, text: &str) -> Result<(), ConfigError> {
    draft.toml = Some(path.to_owned());
    let source = Source {
        path: path.to_owned(),
        text,
    };
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: source.place(error.span().map_or(text.len(), |span| span.start)),
        reason: error
            .message()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    })?;
    for (name, value) in root.get_ref() {
        let section: &str = name.get_ref();
        if draft::keys_of(section).is_empty() {
            let hint = draft::hint_section(section);
            draft.refuse(unknown(source.place(name.span().start), section, hint));
        } else if section == EXTENSION {
            extensions(draft, &source, value);
        } else {
            match value.get_ref() {
                DeValue::Table(table) => section_keys(draft, &source, section, table),
                other => draft.refuse(ConfigError::WrongType {
                    place: source.place(value.span().start),
                    key: section.to_owned(),
                    found: type_name(other),
                    expected: "a table",
                }),
            }
        }
    }
    Ok(())
}

/// The file, for places.
struct Source<'a> {
    path: PathBuf,
    text: &'a str,
}

impl Source<'_> {
    fn place(&self, offset: usize) -> Place {
        let line = Some(line_of(self.text.as_bytes(), offset));
        Place::Toml {
            path: self.path.clone(),
            line,
        }
    }

    fn setting(&self, name: String, value: &Spanned<DeValue<'_>>) -> Setting {
        Setting {
            place: self.place(value.span().start),
            name,
            value: plain(value.get_ref()),
        }
    }
}

fn section_keys(draft: &mut Draft, source: &Source<'_>, section: &str, table: &DeTable<'_>) {
    for (name, value) in table {
        let path = format!("{section}.{}", name.get_ref());
        if path == VOICES {
            voices(draft, source, value);
        } else if draft::keys_of(section).contains(&name.get_ref().as_ref()) {
            let setting = source.setting(path.clone(), value);
            draft.values.insert(path, setting);
        } else {
            let hint = draft::hint_key(section, name.get_ref());
            draft.refuse(unknown(source.place(name.span().start), &path, hint));
        }
    }
}

fn voices(draft: &mut Draft, source: &Source<'_>, value: &Spanned<DeValue<'_>>) {
    let DeValue::Table(table) = value.get_ref() else {
        draft.refuse(ConfigError::WrongType {
            place: source.place(value.span().start),
            key: VOICES.to_owned(),
            found: type_name(value.get_ref()),
            expected: "a table of language = \"voice id\"",
        });
        return;
    };
    for (language, voice) in table {
        let path = format!("{VOICES}.{}", language.get_ref());
        let setting = source.setting(shown_key(&path), voice);
        draft.values.insert(path, setting);
    }
}

fn extensions(draft: &mut Draft, source: &Source<'_>, value: &Spanned<DeValue<'_>>) {
    const EXPECTED: &str = "[[extension]], once for every extension";
    let DeValue::Array(list) = value.get_ref() else {
        draft.refuse(ConfigError::WrongType {
            place: source.place(value.span().start),
            key: EXTENSION.to_owned(),
            found: type_name(value.get_ref()),
            expected: EXPECTED,
        });
        return;
    };
    for (index, item) in list.iter().enumerate() {
        let label = format!("{EXTENSION}[{index}]");
        let place = source.place(item.span().start);
        let DeValue::Table(table) = item.get_ref() else {
            draft.refuse(ConfigError::WrongType {
                place,
                key: label,
                found: type_name(item.get_ref()),
                expected: EXPECTED,
            });
            continue;
        };
        let mut extension = ExtensionDraft {
            place,
            label: label.clone(),
            values: Default::default(),
        };
        for (name, value) in table {
            let key: &str = name.get_ref();
            let path = format!("{label}.{key}");
            if draft::keys_of(EXTENSION).contains(&key) {
                extension
                    .values
                    .insert(key.to_owned(), source.setting(path, value));
            } else {
                let hint = draft::hint_key(EXTENSION, key);
                draft.refuse(unknown(source.place(name.span().start), &path, hint));
            }
        }
        draft.extensions.push(extension);
    }
}

fn unknown(place: Place, key: &str, hint: String) -> ConfigError {
    ConfigError::UnknownKey {
        place,
        key: shown_key(key),
        hint,
    }
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.as_ref().to_owned()),
        DeValue::Integer(_) => {
            integer(value).map_or(Value::Other("an integer beyond 64 bits"), Value::Integer)
        }
        DeValue::Array(list) => list
            .iter()
            .map(|item| integer(item.get_ref()))
            .collect::<Option<_>>()
            .map_or(Value::Other(type_name(value)), Value::Integers),
        other => Value::Other(type_name(other)),
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(digits) = value else {
        return None;
    };
    i64::from_str_radix(digits.as_str(), digits.radix()).ok()
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "an array",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Integer(_) => "an integer",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a table",
    }
}
