//! Goal: a caller's line does not depend on the translator: without it there is silence on every
//! tick, and when it comes back after a crash, speech is interpreted again in the same call.
//! Method: a real Asterisk, gateway and translator as processes of their own; the translator is
//! absent, or ended by SIGKILL in mid-call and started anew.

mod support;

use std::time::Duration;

use support::lab_asterisk::{Asterisk, free_tcp_port};
use support::lab_call::{
    assert_heard, folder, listen_to_the_end, wait_for_heard, wait_for_links, wait_for_pairs,
};
use support::lab_phone::{Report, Script};
use support::product_programs::{self, Vendors};
use support::product_speech::{Language, Phrase, say};

/// One packet every 20 ms (RFC 3551's usual ptime).
const PACKETS_PER_SECOND: f64 = 50.0;
/// How far the count of a whole call may be off: packets at its edges.
const PACKETS_TOLERANCE: f64 = 0.02;
/// By the kernel's clock at the phone. Asterisk, which hands our packets on, has no real-time
/// priority, and all share two cores: what it may be late is its own; the count is exact.
const GAP_MS_MAX: f64 = 250.0;
/// What the phones speak when they are not told otherwise.
const CODEC: &str = "pcmu";
const SILENT_CALL_S: &str = "6";
const CALL_MAX: Duration = Duration::from_secs(60);

const BEFORE: Phrase = Phrase {
    en: "There is a mistake on my bill.",
    fr: "Il y a une erreur sur ma facture.",
};
const AFTER: Phrase = Phrase {
    en: "My order has not arrived yet.",
    fr: "Ma commande n'est pas encore arrivée.",
};

#[test]
fn without_a_translator_the_line_stays_up_and_silent() {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder("no_translator");
    let gateway = product_programs::gateway(&asterisk, free_tcp_port());
    let speech = say(&folder, CODEC, Language::English, BEFORE.en);
    let phones = ["7777", "8888"].map(|extension| {
        Script::new(extension, extension)
            .say(1.0, &speech.file)
            .option("--seconds", SILENT_CALL_S)
            .call(&asterisk, &folder)
    });
    wait_for_pairs(&gateway, 1);
    for phone in phones {
        let report = phone.finish(CALL_MAX);
        assert_eq!(
            report.text("ended_by"),
            "us",
            "the line stayed until the phone hung up"
        );
        assert_eq!(
            report.count_of("speech_s"),
            0,
            "nothing but silence was heard"
        );
        assert_steady(&report);
    }
    asterisk.assert_empty();
}

#[test]
fn a_killed_translator_is_replaced_in_mid_call() {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder("translator_killed");
    let port = free_tcp_port();
    let vendors = Vendors::start();
    let mut translator = product_programs::translator(&vendors, port);
    let gateway = product_programs::gateway(&asterisk, port);
    let mut english = Script::new("english", "7777")
        .option("--seconds", "60")
        .call(&asterisk, &folder);
    let mut french = Script::new("french", "8888")
        .option("--seconds", "60")
        .call(&asterisk, &folder);
    wait_for_links(&gateway, 2);

    english.say(&say(&folder, CODEC, Language::English, BEFORE.en).file);
    wait_for_heard(&gateway, 1);
    translator.kill();
    let _translator = product_programs::translator(&vendors, port);
    wait_for_links(&gateway, 4);
    english.say(&say(&folder, CODEC, Language::English, AFTER.en).file);
    french.say(&say(&folder, CODEC, Language::French, AFTER.fr).file);
    wait_for_heard(&gateway, 3);

    listen_to_the_end();
    for phone in [&mut english, &mut french] {
        phone.hang_up();
        phone.wait_for_end(CALL_MAX);
    }
    assert_heard(
        &french.recording(),
        Language::French,
        &[BEFORE.fr, AFTER.fr],
    );
    assert_heard(&english.recording(), Language::English, &[AFTER.en]);
    for phone in [english, french] {
        assert_steady(&phone.finish(CALL_MAX));
    }
    asterisk.assert_empty();
}

/// A packet every 20 ms from the first to the hang-up.
fn assert_steady(report: &Report) {
    let listened_s = report.number("ended_after_s") - report.number("rx_first_after_s");
    let expected = listened_s * PACKETS_PER_SECOND;
    let packets = report.number("rx_packets");
    assert!(
        (packets - expected).abs() <= expected * PACKETS_TOLERANCE,
        "{packets} packets in {listened_s} s"
    );
    let gap_ms = report.number("rx_gap_ms_max");
    assert!(gap_ms <= GAP_MS_MAX, "longest gap: {gap_ms} ms");
}
