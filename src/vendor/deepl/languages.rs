//! BCP 47 tags to DeepL's language codes: sources have no variants, some targets must have one.

/// A language the vendor translates: primary subtag, source code, target code without a wish for a
/// variant.
const LANGUAGES: [(&str, &str, &str); 34] = [
    ("ar", "AR", "AR"),
    ("bg", "BG", "BG"),
    ("cs", "CS", "CS"),
    ("da", "DA", "DA"),
    ("de", "DE", "DE"),
    ("el", "EL", "EL"),
    ("en", "EN", "EN-US"),
    ("es", "ES", "ES"),
    ("et", "ET", "ET"),
    ("fi", "FI", "FI"),
    ("fr", "FR", "FR"),
    ("he", "HE", "HE"),
    ("hu", "HU", "HU"),
    ("id", "ID", "ID"),
    ("it", "IT", "IT"),
    ("ja", "JA", "JA"),
    ("ko", "KO", "KO"),
    ("lt", "LT", "LT"),
    ("lv", "LV", "LV"),
    ("nb", "NB", "NB"),
    ("nl", "NL", "NL"),
    ("no", "NB", "NB"),
    ("pl", "PL", "PL"),
    ("pt", "PT", "PT-PT"),
    ("ro", "RO", "RO"),
    ("ru", "RU", "RU"),
    ("sk", "SK", "SK"),
    ("sl", "SL", "SL"),
    ("sv", "SV", "SV"),
    ("th", "TH", "TH"),
    ("tr", "TR", "TR"),
    ("uk", "UK", "UK"),
    ("vi", "VI", "VI"),
    ("zh", "ZH", "ZH-HANS"),
];

/// Variants of targets by their further subtags (region or script).
const VARIANTS: [(&str, &str, &str); 12] = [
    ("en", "au", "EN-GB"),
    ("en", "gb", "EN-GB"),
    ("en", "ie", "EN-GB"),
    ("en", "in", "EN-GB"),
    ("en", "nz", "EN-GB"),
    ("en", "za", "EN-GB"),
    ("es", "419", "ES-419"),
    ("es", "mx", "ES-419"),
    ("pt", "br", "PT-BR"),
    ("zh", "hant", "ZH-HANT"),
    ("zh", "hk", "ZH-HANT"),
    ("zh", "tw", "ZH-HANT"),
];

/// The code of a language to translate from: "fr-CA" is `FR`.
pub(super) fn source_code(tag: &str) -> Option<&'static str> {
    language(tag).map(|(_, source, _)| *source)
}

/// The code of a language to translate into: "en" is `EN-US`, "en-GB" is `EN-GB`.
pub(super) fn target_code(tag: &str) -> Option<&'static str> {
    let (primary, _, target) = language(tag)?;
    let variant = VARIANTS.iter().find(|(language, subtag, _)| {
        language == primary
            && subtags(tag)
                .skip(1)
                .any(|part| part.eq_ignore_ascii_case(subtag))
    });
    Some(variant.map_or(target, |(_, _, code)| code))
}

fn language(tag: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let primary = subtags(tag).next()?;
    LANGUAGES
        .iter()
        .find(|(language, ..)| language.eq_ignore_ascii_case(primary))
}

fn subtags(tag: &str) -> impl Iterator<Item = &str> {
    tag.split(['-', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_the_vendors_codes() {
        let cases = [
            ("en", "EN", "EN-US"),
            ("en-US", "EN", "EN-US"),
            ("en-GB", "EN", "EN-GB"),
            ("EN-au", "EN", "EN-GB"),
            ("fr", "FR", "FR"),
            ("fr-CA", "FR", "FR"),
            ("fr_FR", "FR", "FR"),
            ("de", "DE", "DE"),
            ("es", "ES", "ES"),
            ("es-419", "ES", "ES-419"),
            ("it", "IT", "IT"),
            ("nl-BE", "NL", "NL"),
            ("no", "NB", "NB"),
            ("pt", "PT", "PT-PT"),
            ("pt-BR", "PT", "PT-BR"),
            ("zh", "ZH", "ZH-HANS"),
            ("zh-HK", "ZH", "ZH-HANT"),
            ("zh-Hant-TW", "ZH", "ZH-HANT"),
        ];
        for (tag, source, target) in cases {
            assert_eq!(source_code(tag), Some(source), "{tag}");
            assert_eq!(target_code(tag), Some(target), "{tag}");
        }
        for tag in ["", "-", "xx", "multi", "english", "é"] {
            assert_eq!((source_code(tag), target_code(tag)), (None, None), "{tag}");
        }
    }
}
