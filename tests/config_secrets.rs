//! Goal: keys are found where they may be, missed only where they are needed, and never printed.
//! Method: recognisable keys in every place that takes one; whatever is printed is searched for
//! them.

#[allow(dead_code)]
mod config_support;

use config_support::{Folder, PAIR};
use diglot::config::{self, Command, Control, Secret};

const VARIABLES: [&str; 4] = [
    "DEEPGRAM_API_KEY",
    "DEEPL_API_KEY",
    "ELEVENLABS_API_KEY",
    "HUME_API_KEY",
];

/// Part of every key in these tests, and of nothing else.
const MARK: &str = "s3cr3t";

fn with_keys(mut folder: Folder) -> Folder {
    for name in VARIABLES {
        folder = folder.variable(name, format!("{MARK}-{name}"));
    }
    folder
}

#[test]
fn no_key_is_printed_with_the_configuration() {
    let toml = PAIR.replace("control = \"none\"", "password_file = \"ari.password\"");
    let folder = with_keys(Folder::new(Command::Run).toml(toml)).file("ari.password", MARK);
    let config = folder.load();
    let Control::Ari(ari) = &config.asterisk.control else {
        panic!("no ARI")
    };
    assert_eq!(ari.password.reveal(), MARK);
    assert_eq!(
        config.deepl.key.as_ref().unwrap().reveal(),
        "s3cr3t-DEEPL_API_KEY"
    );
    for printed in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!printed.contains(MARK), "{printed}");
        assert_eq!(printed.matches("***").count(), 5);
    }
    assert_eq!(format!("{:?}", Secret::new(MARK.to_owned())), "***");
}

#[test]
fn a_malformed_key_is_refused_without_showing_it() {
    let lines = [
        (
            format!("DEEPL_API_KEY='{MARK} {MARK}'"),
            "holds a space, a line break or a letter that no key has",
        ),
        (
            format!("DEEPL_API_KEY={MARK} {MARK}"),
            "cannot be read; put the value in quotes and close them on the same line",
        ),
        (
            format!("DEEPL_API_KEY=\"{MARK}"),
            "cannot be read; put the value in quotes and close them on the same line",
        ),
        (
            format!("DEEPL_API_KEY={MARK}$X"),
            "holds a $, which would stand for another variable; put it in single quotes",
        ),
        (
            format!("DEEPL_API_KEY={MARK}é"),
            "holds a space, a line break or a letter that no key has",
        ),
    ];
    for (line, reason) in lines {
        let folder = Folder::new(Command::Gateway).toml(PAIR).env_file(line);
        assert_eq!(folder.refusal(), format!(".env:1: DEEPL_API_KEY: {reason}"));
        let error = config::load(&folder.sources).unwrap_err();
        assert!(!format!("{error:?}").contains(MARK), "{error:?}");
    }
}

#[test]
fn a_dollar_in_single_quotes_is_a_dollar() {
    let folder = Folder::new(Command::Gateway)
        .toml(PAIR)
        .env_file("DEEPL_API_KEY='a$b'\n");
    assert_eq!(folder.load().deepl.key.unwrap().reveal(), "a$b");
}

#[test]
fn a_password_in_a_url_is_refused_without_showing_it() {
    let toml = format!("{PAIR}[deepl]\nurl = \"https://user:{MARK}@host\"\n");
    assert_eq!(
        Folder::new(Command::Gateway).toml(toml).refusal(),
        "diglot.toml:14: deepl.url: a URL here holds no user or password"
    );
}

#[test]
fn a_key_in_the_toml_file_is_refused_without_showing_it() {
    let toml = format!("{PAIR}[deepgram]\nkey = \"{MARK}\"\n");
    assert_eq!(
        Folder::new(Command::Gateway).toml(toml).refusal(),
        "diglot.toml:14: deepgram.key: unknown key; a key is not written here but in \
         DEEPGRAM_API_KEY or in a file, deepgram.key_file"
    );
    let toml = format!("[asterisk]\npassword = \"{MARK}\"\n");
    assert_eq!(
        Folder::new(Command::Gateway).toml(toml).refusal(),
        "diglot.toml:2: asterisk.password: unknown key; a password is not written here but in a \
         file, asterisk.password_file"
    );
}

#[test]
fn a_translator_needs_the_keys_of_its_vendors() {
    for (missing, section) in [
        ("DEEPGRAM_API_KEY", "deepgram"),
        ("DEEPL_API_KEY", "deepl"),
        ("ELEVENLABS_API_KEY", "elevenlabs"),
    ] {
        let mut folder = with_keys(Folder::new(Command::Translator));
        folder
            .sources
            .environment
            .retain(|(name, _)| name != missing);
        assert_eq!(
            folder.refusal(),
            format!(
                "{section}.key_file: missing; set {missing} in the environment or the --env-file, \
                 or name the file that holds the key"
            )
        );
    }
    let mut folder = with_keys(Folder::new(Command::Translator));
    folder
        .sources
        .environment
        .retain(|(name, _)| name != "HUME_API_KEY");
    folder.load();
}

#[test]
fn a_loop_needs_no_key_and_a_gateway_none_either() {
    let folder = Folder::new(Command::Run)
        .toml(PAIR)
        .set("translator.engine", "loop");
    assert!(folder.load().deepgram.key.is_none());
    assert!(
        Folder::new(Command::Gateway)
            .toml(PAIR)
            .load()
            .deepgram
            .key
            .is_none()
    );
}

#[test]
fn a_translator_needs_no_password_and_a_gateway_does() {
    let control = with_keys(Folder::new(Command::Translator))
        .load()
        .asterisk
        .control;
    assert!(matches!(control, Control::None));
    for command in [Command::Gateway, Command::Run] {
        assert_eq!(
            with_keys(Folder::new(command)).refusal(),
            "asterisk.password_file: missing; name the file that holds the password of ARI's user, \
             or set asterisk.control to none"
        );
    }
    let folder = Folder::new(Command::Gateway).toml("[asterisk]\nuser = \"gateway\"\n");
    assert!(
        folder
            .refusal()
            .starts_with("diglot.toml: asterisk.password_file: missing; ")
    );
}

#[test]
fn a_password_file_that_is_not_there_is_named() {
    let folder = Folder::new(Command::Gateway).toml("[asterisk]\npassword_file = \"absent\"\n");
    assert_eq!(
        folder.refusal(),
        "diglot.toml:2: asterisk.password_file: \"absent\" cannot be read: \
         No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_holds_one_key() {
    for (content, what) in [
        (String::new(), "is empty"),
        ("\n".to_owned(), "is empty"),
        (
            format!("{MARK}\n{MARK}\n"),
            "holds a space, a line break or a letter that no key has",
        ),
        (MARK.repeat(1000), "does not hold one key or password"),
    ] {
        let folder = with_keys(Folder::new(Command::Gateway))
            .toml("[asterisk]\npassword_file = \"ari.password\"\n")
            .file("ari.password", content);
        assert_eq!(
            folder.refusal(),
            format!("diglot.toml:2: asterisk.password_file: \"ari.password\" {what}")
        );
    }
}

#[test]
fn a_key_file_is_read_unless_a_variable_holds_the_key() {
    let toml = "[deepl]\nkey_file = \"deepl.key\"\n";
    let folder = || with_keys(Folder::new(Command::Translator)).toml(toml);
    let mut from_file = folder().file("deepl.key", " from-file:fx \r\n");
    from_file
        .sources
        .environment
        .retain(|(name, _)| name != "DEEPL_API_KEY");
    let deepl = from_file.load().deepl;
    assert_eq!(deepl.key.unwrap().reveal(), "from-file:fx");
    assert_eq!(deepl.url, "https://api-free.deepl.com");
    let deepl = folder().load().deepl;
    assert_eq!(deepl.key.unwrap().reveal(), "s3cr3t-DEEPL_API_KEY");
    assert_eq!(deepl.url, "https://api.deepl.com");
}

#[test]
fn every_language_has_a_voice() {
    let toml = format!(
        "{}[elevenlabs.voices]\nen = \"VoiceOfEnglish\"\nde = \"VoiceOfGerman\"\n",
        PAIR.replace("\"en\"", "\"en-GB\"")
    );
    let voices = Folder::new(Command::Gateway)
        .toml(toml)
        .load()
        .elevenlabs
        .voices;
    let voice = |language: &str| {
        voices
            .iter()
            .find(|(known, _)| known == language)
            .map(|(_, voice)| voice.as_str())
    };
    assert_eq!(voice("en-GB"), Some("VoiceOfEnglish"));
    assert_eq!(voice("de"), Some("VoiceOfGerman"));
    assert_eq!(voice("fr"), Some("JBFqnCBsd6RMkjVDRZzb"));
}
