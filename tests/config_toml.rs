//! Goal: what is wrong in a TOML file is said in one line: file, line, key, what is accepted.
//! Method: one broken file per kind of error, its whole line compared.

#[allow(dead_code)]
mod config_support;

use config_support::{Folder, PAIR};
use diglot::config::{Command, Control, Engine, OnFailure};
use diglot_rt::msg::{Codec, Comfort};
use diglot_rt::units::Dbm0;

fn gateway(toml: &str) -> Folder {
    Folder::new(Command::Gateway).toml(toml)
}

/// The refusal of the good pair with lines appended; they start at line 13.
fn refusal_with(more: &str) -> String {
    gateway(&format!("{PAIR}{more}")).refusal()
}

/// The refusal of the good pair with one piece of it changed.
fn refusal_changed(from: &str, to: &str) -> String {
    assert!(PAIR.contains(from));
    gateway(&PAIR.replacen(from, to, 1)).refusal()
}

#[test]
fn a_good_file_says_what_it_says() {
    let toml = format!(
        "{PAIR}uplink = \"ulaw\"\ndownlink = \"alaw\"\non_failure = \"original\"\n\
         [link]\nurl = \"ws://[::1]:4002/translate/\"\n[realtime]\nlegs_max = 1\ntx_core = 0\n\
         [translator]\nlisten = \"0.0.0.0:0\"\nengine = \"loop\"\n"
    );
    let config = gateway(&toml).load();
    assert!(matches!(config.asterisk.control, Control::None));
    assert_eq!(config.asterisk.leg_timeout.as_millis(), 5_000);
    let [first, second] = &config.extensions[..] else {
        panic!("{:?}", config.extensions)
    };
    assert_eq!((first.uplink, first.downlink), (Codec::Slin16, Codec::Slin));
    assert_eq!(first.on_failure, OnFailure::Silence);
    assert_eq!((second.uplink, second.downlink), (Codec::Ulaw, Codec::Alaw));
    assert_eq!(second.on_failure, OnFailure::Original);
    assert_eq!(
        (second.number.as_str(), second.language.as_str()),
        ("8888", "fr")
    );
    assert_eq!(config.link.url, "ws://[::1]:4002/translate");
    assert_eq!(config.realtime.legs_max, 1);
    assert_eq!(
        (config.realtime.rx_cores, config.realtime.tx_cores),
        (vec![], vec![0])
    );
    assert_eq!(config.translator.engine, Engine::Loop);
    assert!(config.notes.is_empty());
}

#[test]
fn the_link_leads_to_the_own_translator_by_default() {
    let folder = gateway(PAIR).set("translator.listen", "0.0.0.0:0");
    let link = folder.load().link;
    assert_eq!(link.url, "ws://127.0.0.1:0/translate");
    let bound = "127.0.0.1:40123".parse().unwrap();
    assert_eq!(link.to_bound(bound).url, "ws://127.0.0.1:40123/translate");
}

#[test]
fn a_missing_file_is_named() {
    let mut folder = Folder::new(Command::Gateway);
    folder.sources.config = Some(folder.path().join("absent.toml"));
    assert_eq!(
        folder.refusal(),
        "absent.toml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_folder_is_not_a_file() {
    let mut folder = Folder::new(Command::Gateway);
    folder.sources.config = Some(folder.path().join("."));
    assert_eq!(
        folder.refusal(),
        ".: cannot be read: Is a directory (os error 21)"
    );
}

#[test]
fn what_is_not_utf8_is_refused_at_its_line() {
    let folder = Folder::new(Command::Gateway).toml(b"[link]\nurl = \"\xff\"\n");
    assert_eq!(folder.refusal(), "diglot.toml:2: not UTF-8 text");
}

#[test]
fn a_file_beyond_the_bound_is_refused() {
    let folder = gateway(&"#".repeat((1 << 20) + 1));
    assert_eq!(
        folder.refusal(),
        "diglot.toml: longer than 1048576 bytes, which no configuration is"
    );
}

#[test]
fn broken_toml_is_refused_at_its_line() {
    let line = refusal_with("[link\nurl = 3\n");
    assert!(
        line.starts_with("diglot.toml:13: not valid TOML: "),
        "{line}"
    );
}

#[test]
fn an_unknown_table_names_the_nearest() {
    assert_eq!(
        refusal_with("[realtme]\nlegs_max = 1\n"),
        "diglot.toml:13: realtme: unknown key; did you mean \"realtime\"?"
    );
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(
        refusal_with("[translator]\nlisen = \"127.0.0.1:3002\"\n"),
        "diglot.toml:14: translator.lisen: unknown key; did you mean \"listen\"?"
    );
    assert_eq!(
        refusal_with("down_link = \"ulaw\"\n"),
        "diglot.toml:13: extension[1].down_link: unknown key; did you mean \"downlink\"?"
    );
}

#[test]
fn an_unknown_key_like_no_other_names_all() {
    assert_eq!(
        refusal_with("[translator]\ncolour = \"red\"\n"),
        "diglot.toml:14: translator.colour: unknown key; \
         [translator] has listen, engine, workers or recognizers_max"
    );
}

#[test]
fn another_type_is_named() {
    assert_eq!(
        refusal_with("[translator]\nworkers = \"8\"\n"),
        "diglot.toml:14: translator.workers: expected an integer, found a string"
    );
    assert_eq!(
        refusal_with("[link]\nurl = true\n"),
        "diglot.toml:14: link.url: expected a string, found true or false"
    );
    assert_eq!(
        refusal_changed("number = \"7777\"", "number = 7777"),
        "diglot.toml:4: extension[0].number: expected a string, like \"7777\", found an integer"
    );
    assert_eq!(
        gateway("link = 3\n").refusal(),
        "diglot.toml:1: link: expected a table, found an integer"
    );
    assert_eq!(
        gateway("[extension]\nnumber = \"7777\"\n").refusal(),
        "diglot.toml:1: extension: expected [[extension]], once for every extension, found a table"
    );
}

#[test]
fn a_number_beyond_its_range_names_the_range() {
    for (table, key, value, range) in [
        ("translator", "workers", "0", "1 to 256"),
        ("translator", "workers", "257", "1 to 256"),
        ("translator", "recognizers_max", "0", "1 to 1024"),
        ("realtime", "legs_max", "0", "1 to 1024"),
        ("realtime", "legs_max", "1025", "1 to 1024"),
        ("realtime", "rx_core", "-1", "0 to 1023"),
        ("realtime", "tile_pairs", "0", "1 to 8"),
        ("realtime", "tile_pairs", "9", "1 to 8"),
        ("realtime", "priority", "100", "0 to 99"),
        ("deepgram", "endpointing_ms", "9", "10 to 5000"),
    ] {
        assert_eq!(
            refusal_with(&format!("[{table}]\n{key} = {value}\n")),
            format!("diglot.toml:14: {table}.{key}: {value} is not an integer from {range}")
        );
    }
}

#[test]
fn cores_are_one_for_each_tile_pair() {
    let toml = format!("{PAIR}[realtime]\ntile_pairs = 2\nrx_core = [2, 4]\n");
    let realtime = gateway(&toml)
        .set("realtime.tx_core", "3, 5")
        .load()
        .realtime;
    assert_eq!(realtime.tile_pairs, 2);
    assert_eq!(
        (realtime.rx_cores, realtime.tx_cores),
        (vec![2, 4], vec![3, 5])
    );

    for (written, reason) in [
        (
            "[2]",
            "names 1 core, but realtime.tile_pairs is 2: name one for each pair",
        ),
        (
            "2",
            "names 1 core, but realtime.tile_pairs is 2: name one for each pair",
        ),
        (
            "[1, 2, 3]",
            "names 3 cores, but realtime.tile_pairs is 2: name one for each pair",
        ),
        ("[2, -4]", "-4 is not an integer from 0 to 1023"),
        ("[2, \"4\"]", "expected an integer, found an array"),
    ] {
        assert_eq!(
            refusal_with(&format!(
                "[realtime]\ntile_pairs = 2\nrx_core = {written}\n"
            )),
            format!("diglot.toml:15: realtime.rx_core: {reason}")
        );
    }
    assert_eq!(
        refusal_with("[realtime]\nlegs_max = [2]\n"),
        "diglot.toml:14: realtime.legs_max: expected an integer, found an array"
    );
}

#[test]
fn a_name_for_an_address_is_refused() {
    assert_eq!(
        refusal_changed("127.0.0.1:5000", "localhost:5000"),
        "diglot.toml:7: extension[0].listen: \"localhost:5000\" is not a numeric address and port, \
         like 127.0.0.1:5000"
    );
}

#[test]
fn a_downlink_that_asterisk_drops_is_refused() {
    assert_eq!(
        refusal_with("downlink = \"slin16\"\n"),
        "diglot.toml:13: extension[1].downlink: \"slin16\" has a dynamic payload type, and \
         Asterisk drops what comes back with one; use g722, slin, ulaw or alaw"
    );
}

#[test]
fn what_is_not_built_yet_is_refused() {
    assert_eq!(
        refusal_with("transport = \"audiosocket\"\n"),
        "diglot.toml:13: extension[1].transport: \"audiosocket\" is not supported by this version; \
         use rtp"
    );
}

#[test]
fn an_unknown_codec_is_refused() {
    assert_eq!(
        refusal_with("uplink = \"opus\"\n"),
        "diglot.toml:13: extension[1].uplink: \"opus\" is not a codec of this gateway; \
         use slin16, g722, slin, ulaw or alaw"
    );
}

#[test]
fn a_choice_names_what_there_is() {
    assert_eq!(
        refusal_with("[translator]\nengine = \"magic\"\n"),
        "diglot.toml:14: translator.engine: \"magic\" is not accepted; use loop or vendors"
    );
    assert_eq!(
        refusal_with("on_failure = \"music\"\n"),
        "diglot.toml:13: extension[1].on_failure: \"music\" is not accepted; \
         use silence, original or prompt:FILE"
    );
}

#[test]
fn a_language_is_a_tag() {
    assert_eq!(
        refusal_changed("language = \"en\"", "language = \"english\""),
        "diglot.toml:5: extension[0].language: \"english\" is not a language tag, like en or pt-BR"
    );
    let config = gateway(&PAIR.replace("\"en\"", "\"ZH-hant-tw\"")).load();
    assert_eq!(config.extensions[0].language, "zh-Hant-TW");
}

#[test]
fn a_number_is_digits() {
    assert_eq!(
        refusal_changed("number = \"7777\"", "number = \"77/77\""),
        "diglot.toml:4: extension[0].number: \"77/77\" is not 1 to 15 digits"
    );
}

#[test]
fn a_long_value_is_shown_in_part() {
    let line = refusal_with(&format!("[translator]\nengine = \"{}\"\n", "x".repeat(500)));
    assert!(line.len() < 200, "{line}");
}

#[test]
fn a_url_of_another_scheme_is_refused() {
    for (table, url, schemes) in [
        ("link", "wss://127.0.0.1:3002/translate", "ws"),
        ("deepgram", "https://api.deepgram.com", "wss or ws"),
        ("deepl", "ftp://api.deepl.com", "https or http"),
        ("elevenlabs", "api.elevenlabs.io", "https or http"),
        ("hume", "https://api.hume.ai", "wss or ws"),
    ] {
        assert_eq!(
            refusal_with(&format!("[{table}]\nurl = \"{url}\"\n")),
            format!("diglot.toml:14: {table}.url: \"{url}\" is not a URL with scheme {schemes}")
        );
    }
}

#[test]
fn a_malformed_url_is_refused() {
    for rest in [
        "",
        ":80",
        "host:",
        "host:+80",
        "host:65536",
        "[::1",
        "a b",
        "h?q=1",
        "h/p#f",
    ] {
        let url = format!("ws://{rest}");
        assert_eq!(
            refusal_with(&format!("[deepgram]\nurl = \"{url}\"\n")),
            format!("diglot.toml:14: deepgram.url: \"{url}\" is not a URL like ws://host:port")
        );
    }
}

#[test]
fn a_link_without_a_path_is_refused() {
    assert_eq!(
        refusal_with("[link]\nurl = \"ws://127.0.0.1:3002\"\n"),
        "diglot.toml:14: link.url: \"ws://127.0.0.1:3002\" has no path; \
         use one like ws://127.0.0.1:3002/translate"
    );
}

#[test]
fn what_an_extension_lacks_is_named_at_its_head() {
    for (from, key, remedy) in [
        (
            "number = \"7777\"\n",
            "number",
            "it is what callers dial, like \"7777\"",
        ),
        (
            "language = \"en\"\n",
            "language",
            "it is what its callers speak and hear, like \"en\"",
        ),
        (
            "partner = \"8888\"\n",
            "partner",
            "it is the number of the extension its callers are interpreted with",
        ),
        (
            "listen = \"127.0.0.1:5000\"\n",
            "listen",
            "it is where Asterisk sends the audio, like \"127.0.0.1:5000\"",
        ),
    ] {
        assert_eq!(
            refusal_changed(from, ""),
            format!("diglot.toml:3: extension[0].{key}: missing; {remedy}")
        );
    }
}

#[test]
fn a_number_twice_is_refused() {
    assert_eq!(
        refusal_changed("number = \"8888\"", "number = \"7777\""),
        "diglot.toml:6: extension[0].partner: no extension 8888 is configured"
    );
    let third = "[[extension]]\nnumber = \"8888\"\nlanguage = \"de\"\npartner = \"7777\"\n\
                 listen = \"127.0.0.1:5002\"\n";
    assert_eq!(
        refusal_with(third),
        "diglot.toml:14: extension[2].number: 8888 is also extension[1]"
    );
}

#[test]
fn a_port_twice_is_refused() {
    assert_eq!(
        refusal_changed("127.0.0.1:5001", "127.0.0.1:5000"),
        "diglot.toml:12: extension[1].listen: 127.0.0.1:5000 is also the port of extension[0]"
    );
    assert_eq!(
        refusal_changed("127.0.0.1:5001", "0.0.0.0:5000"),
        "diglot.toml:12: extension[1].listen: 0.0.0.0:5000 is also the port of extension[0]"
    );
    let chosen = PAIR.replace(":5000", ":0").replace(":5001", ":0");
    gateway(&chosen).load();
}

#[test]
fn a_partner_that_is_not_there_is_refused() {
    assert_eq!(
        refusal_changed("partner = \"8888\"", "partner = \"9999\""),
        "diglot.toml:6: extension[0].partner: no extension 9999 is configured"
    );
}

#[test]
fn a_partner_that_names_another_is_refused() {
    let third = "[[extension]]\nnumber = \"9999\"\nlanguage = \"de\"\npartner = \"7777\"\n\
                 listen = \"127.0.0.1:5002\"\n";
    assert_eq!(
        refusal_with(third),
        "diglot.toml:16: extension[2].partner: 7777 is the partner of 8888, not of 9999; \
         partners name each other"
    );
}

#[test]
fn an_extension_is_not_its_own_partner() {
    assert_eq!(
        refusal_changed("partner = \"8888\"", "partner = \"7777\""),
        "diglot.toml:6: extension[0].partner: an extension is not its own partner"
    );
}

#[test]
fn extensions_beyond_the_bound_are_refused() {
    let extension = |n: u32| {
        format!(
            "[[extension]]\nnumber = \"{n}\"\nlanguage = \"en\"\npartner = \"{}\"\n\
             listen = \"127.0.0.1:{}\"\n",
            n ^ 1,
            6_000 + n
        )
    };
    let head = "[asterisk]\ncontrol = \"none\"\n";
    let sixteen: String = (0..16).map(extension).collect();
    assert_eq!(
        gateway(&format!("{head}{sixteen}")).load().extensions.len(),
        16
    );
    let seventeen: String = (0..17).map(extension).collect();
    assert_eq!(
        gateway(&format!("{head}{seventeen}")).refusal(),
        "diglot.toml:83: extension[16]: more than 16 extensions in one process"
    );
}

#[test]
fn comfort_noise_is_off_unless_asked_for_and_never_loud() {
    let extension = |more: &str| {
        gateway(&format!("{PAIR}{more}"))
            .load()
            .extensions
            .remove(1)
    };
    assert_eq!(extension("").comfort, Comfort::Silence);
    for level in [-80_i8, -60, -40] {
        let written = format!("comfort_noise_dbm0 = {level}\n");
        assert_eq!(extension(&written).comfort, Comfort::Noise(Dbm0(level)));
    }
    for level in ["-39", "0", "40", "-81", "-1000000"] {
        let line = refusal_with(&format!("comfort_noise_dbm0 = {level}\n"));
        assert_eq!(
            line,
            format!(
                "diglot.toml:13: extension[1].comfort_noise_dbm0: {level} is not an integer from \
                 -80 to -40"
            )
        );
    }
}

#[test]
fn a_prompt_that_is_not_there_is_refused() {
    let line = refusal_with("waiting_prompt = \"absent.wav\"\n");
    assert_eq!(
        line,
        "diglot.toml:13: extension[1].waiting_prompt: \"absent.wav\" cannot be read: \
         No such file or directory (os error 2)"
    );
    let line = refusal_with("on_failure = \"prompt:absent.wav\"\n");
    assert!(
        line.starts_with("diglot.toml:13: extension[1].on_failure: \"absent.wav\" "),
        "{line}"
    );
}

#[test]
fn a_relative_path_starts_from_the_file_that_names_it() {
    let toml = format!("{PAIR}waiting_prompt = \"wait.wav\"\non_failure = \"prompt:sorry.wav\"\n");
    let folder = gateway(&toml).file("wait.wav", "").file("sorry.wav", "");
    let extension = folder.load().extensions.remove(1);
    assert_eq!(
        extension.waiting_prompt,
        Some(folder.path().join("wait.wav"))
    );
    assert_eq!(
        extension.on_failure,
        OnFailure::Prompt(folder.path().join("sorry.wav"))
    );
}

#[test]
fn asterisk_needs_an_address_it_can_send_to() {
    let toml = PAIR
        .replace("control = \"none\"", "password_file = \"ari.password\"")
        .replace("127.0.0.1:5001", "0.0.0.0:5001");
    let folder = gateway(&toml).file("ari.password", "secret\n");
    assert_eq!(
        folder.refusal(),
        "diglot.toml:12: extension[1].listen: Asterisk is told to send to 0.0.0.0:5001; \
         use an address that it can reach"
    );
}

#[test]
fn the_first_of_several_errors_is_reported() {
    let toml = PAIR
        .replace("127.0.0.1:5001", "nowhere")
        .replace("language = \"en\"", "language = 3")
        .replace("[asterisk]", "[asterisk]\nuser = \"\"");
    assert_eq!(
        gateway(&toml).refusal(),
        "diglot.toml:2: asterisk.user: \"\" is not a name of 1 to 64 letters, digits, dots, - or _"
    );
}

#[test]
fn settings_without_effect_are_said() {
    let toml = format!("{PAIR}[monitor]\nlisten = \"127.0.0.1:3001\"\n");
    assert_eq!(
        gateway(&toml).notes(),
        ["diglot.toml:14: monitor.listen: has no effect: this version has no monitor"]
    );
}

#[test]
fn a_key_sent_unencrypted_is_said() {
    let toml = format!(
        "{PAIR}[deepl]\nurl = \"http://192.0.2.1:80\"\n[deepgram]\nurl = \"ws://127.0.0.1:9\"\n"
    );
    assert_eq!(
        gateway(&toml).notes(),
        ["diglot.toml:14: deepl.url: the API key will travel unencrypted to http://192.0.2.1:80"]
    );
}
