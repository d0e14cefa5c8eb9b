//! DeepL's `/v2/translate` and `/v2/usage`: translates what the phrase book holds.
//!
//! A sentence the book does not hold comes back unchanged, as DeepL does with what it cannot make
//! sense of, and is counted and logged; an error status would be a lie about DeepL. Checks and
//! bodies follow DeepL's OpenAPI description and its official mock server.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use crate::http::{Request, Response};
use crate::phrase_book::Language;
use crate::server::{DeeplHost, Shared, log_line, request_id};

/// Largest body, in bytes.
pub const BODY_BYTES_MAX: usize = 128 << 10;
/// Most texts of one request.
const TEXTS_MAX: usize = 50;
/// Every field `/v2/translate` knows; another is a client's mistake.
const FIELDS: [&str; 19] = [
    "text",
    "source_lang",
    "target_lang",
    "context",
    "model_type",
    "formality",
    "split_sentences",
    "preserve_formatting",
    "glossary_id",
    "glossary_ids",
    "style_id",
    "translation_memory_id",
    "translation_memory_threshold",
    "custom_instructions",
    "tag_handling",
    "show_billed_characters",
    "outline_detection",
    "enable_beta_languages",
    "non_splitting_tags",
];
const MODEL_TYPES: [&str; 3] = [
    "latency_optimized",
    "quality_optimized",
    "prefer_quality_optimized",
];
const FORMALITIES: [&str; 5] = ["default", "more", "less", "prefer_more", "prefer_less"];

/// Answers `/v2/translate`.
pub fn translate(request: &Request, shared: &Arc<Shared>) -> Response {
    let answer = check_access(request, shared, "POST").and_then(|()| {
        let asked = Asked::read(request)?;
        translated(&asked, shared)
    });
    with_trace(answer)
}

/// Answers `/v2/usage`.
pub fn usage(request: &Request, shared: &Arc<Shared>) -> Response {
    with_trace(check_access(request, shared, "GET").map(|()| {
        let used = shared
            .counters
            .deepl_characters_total
            .load(Ordering::SeqCst);
        Response::json(
            200,
            &json!({
                "character_count": used,
                "character_limit": shared.options.deepl_characters_max,
            }),
        )
    }))
}

/// A checked request.
struct Asked {
    texts: Vec<String>,
    source: Option<Language>,
    target: Language,
    model_type: Option<String>,
    shows_billed_characters: bool,
}

impl Asked {
    fn read(request: &Request) -> Result<Self, Response> {
        if !request.is_json() {
            return Err(error(415, "Unsupported media type: send application/json."));
        }
        let body: Map<String, Value> = serde_json::from_slice(&request.body)
            .map_err(|_| error(400, "Bad request. Reason: Could not parse JSON."))?;
        if body.contains_key("auth_key") {
            return Err(forbidden());
        }
        if let Some(field) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            return Err(error(
                400,
                &format!("Bad request. Reason: Unknown field \"{field}\"."),
            ));
        }
        let texts = read_texts(&body)?;
        let target_code = text_field(&body, "target_lang")?
            .ok_or_else(|| error(400, "Value for 'target_lang' not supported."))?;
        let target = target_language(target_code)
            .ok_or_else(|| error(400, "Value for 'target_lang' not supported."))?;
        let source = text_field(&body, "source_lang")?
            .map(|code| {
                source_language(code)
                    .ok_or_else(|| error(400, "Value for 'source_lang' not supported."))
            })
            .transpose()?;
        check_choices(&body, target, source)?;
        let model_type = text_field(&body, "model_type")?.map(str::to_owned);
        let shows_billed_characters = body
            .get("show_billed_characters")
            .is_some_and(|value| *value == Value::Bool(true));
        Ok(Self {
            texts,
            source,
            target,
            model_type,
            shows_billed_characters,
        })
    }
}

fn translated(asked: &Asked, shared: &Shared) -> Result<Response, Response> {
    let counters = &shared.counters;
    let characters: u64 = asked
        .texts
        .iter()
        .map(|text| text.chars().count() as u64)
        .sum();
    let before = counters
        .deepl_characters_total
        .fetch_add(characters, Ordering::SeqCst);
    if before + characters > shared.options.deepl_characters_max {
        counters
            .deepl_characters_total
            .fetch_sub(characters, Ordering::SeqCst);
        return Err(error(
            456,
            "Quota for this billing period has been exceeded.",
        ));
    }
    let translations: Vec<Value> = asked
        .texts
        .iter()
        .map(|text| {
            let source = asked
                .source
                .unwrap_or_else(|| detected(text, asked.target, shared));
            let known = shared.book.translate(text, source, asked.target);
            if known.is_none() {
                counters.deepl_unknown_total.fetch_add(1, Ordering::SeqCst);
                log_line(&format!(
                    "deepl {}: not in the phrase book: {text:?}",
                    source.code()
                ));
            }
            let mut entry = json!({
                "detected_source_language": source.code().to_uppercase(),
                "text": known.as_deref().unwrap_or(text),
            });
            if let Some(model_type) = &asked.model_type {
                entry["model_type_used"] = json!(used_model(model_type));
            }
            if asked.shows_billed_characters {
                entry["billed_characters"] = json!(text.chars().count());
            }
            entry
        })
        .collect();
    Ok(Response::json(
        200,
        &json!({ "translations": translations }),
    ))
}

/// Both `quality` choices get the quality model, as the vendor's do where it is supported.
fn used_model(asked: &str) -> &str {
    if asked == "latency_optimized" {
        asked
    } else {
        "quality_optimized"
    }
}

/// Without `source_lang`: the language whose book holds the text, else not the target.
fn detected(text: &str, target: Language, shared: &Shared) -> Language {
    let holding = Language::ALL
        .into_iter()
        .find(|language| shared.book.translate(text, *language, *language).is_some());
    holding.unwrap_or(match target {
        Language::English => Language::French,
        Language::French => Language::English,
    })
}

fn check_access(request: &Request, shared: &Shared, method: &str) -> Result<(), Response> {
    if request.method != method {
        return Err(error(405, "Method not allowed."));
    }
    if request.header("user-agent").is_none_or(str::is_empty) {
        return Err(error(
            400,
            "Bad request. Reason: Missing User-Agent header.",
        ));
    }
    if let Some((name, _)) = request.query.first() {
        return Err(match name.as_str() {
            // Keys in the query are no longer accepted.
            "auth_key" => forbidden(),
            _ => error(
                400,
                &format!("Bad request. Reason: Unknown parameter \"{name}\"."),
            ),
        });
    }
    let key = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("DeepL-Auth-Key "))
        .ok_or_else(forbidden)?;
    let key_host = if key.ends_with(":fx") {
        DeeplHost::Free
    } else {
        DeeplHost::Pro
    };
    if key != shared.options.deepl_key || key_host != shared.options.deepl_host {
        return Err(forbidden());
    }
    Ok(())
}

fn read_texts(body: &Map<String, Value>) -> Result<Vec<String>, Response> {
    let list = body
        .get("text")
        .and_then(Value::as_array)
        .ok_or_else(|| error(400, "Parameter 'text' not specified."))?;
    if list.is_empty() || list.len() > TEXTS_MAX {
        return Err(error(
            400,
            &format!("Bad request. Reason: 1 to {TEXTS_MAX} texts."),
        ));
    }
    list.iter()
        .map(|text| text.as_str().map(str::to_owned))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            error(
                400,
                "Bad request. Reason: 'text' must be an array of strings.",
            )
        })
}

fn check_choices(
    body: &Map<String, Value>,
    target: Language,
    source: Option<Language>,
) -> Result<(), Response> {
    let bad = |name: &str| error(400, &format!("Value for '{name}' not supported."));
    if text_field(body, "model_type")?.is_some_and(|value| !MODEL_TYPES.contains(&value)) {
        return Err(bad("model_type"));
    }
    if text_field(body, "split_sentences")?.is_some_and(|v| !["0", "1", "nonewlines"].contains(&v))
    {
        return Err(bad("split_sentences"));
    }
    match text_field(body, "formality")? {
        Some(value) if !FORMALITIES.contains(&value) => return Err(bad("formality")),
        Some("more" | "less") if target == Language::English => {
            return Err(error(
                400,
                "'formality' is not supported for given 'target_lang'.",
            ));
        }
        _ => {}
    }
    if text_field(body, "glossary_id")?.is_some() || body.contains_key("glossary_ids") {
        return Err(match source {
            None => error(400, "Use of a glossary requires the source_lang parameter."),
            // None can be made here, so none can be found.
            Some(_) => error(404, "Glossary not found."),
        });
    }
    for name in ["preserve_formatting", "show_billed_characters"] {
        if body.get(name).is_some_and(|value| !value.is_boolean()) {
            return Err(bad(name));
        }
    }
    Ok(())
}

fn text_field<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Response> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(error(400, &format!("Value for '{name}' not supported."))),
    }
}

/// Targets have variants; bare `EN` is legacy but still taken.
fn target_language(code: &str) -> Option<Language> {
    match code.to_ascii_uppercase().as_str() {
        "EN" | "EN-GB" | "EN-US" => Some(Language::English),
        "FR" => Some(Language::French),
        _ => None,
    }
}

/// Sources have none.
fn source_language(code: &str) -> Option<Language> {
    match code.to_ascii_uppercase().as_str() {
        "EN" => Some(Language::English),
        "FR" => Some(Language::French),
        _ => None,
    }
}

fn forbidden() -> Response {
    error(403, "Forbidden")
}

fn error(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "message": message }))
}

fn with_trace(answer: Result<Response, Response>) -> Response {
    answer
        .unwrap_or_else(|refusal| refusal)
        .with("x-trace-id", request_id())
}
