//! Goal: when Asterisk crashes and comes back, the gateway forgets the calls that died with it and
//! interprets new ones.
//! Method: a real Asterisk, the whole product; SIGKILL in mid-call, then the gateway's account of
//! its legs and a new call whose recordings are recognised.

mod support;

use std::time::Duration;

use support::lab_asterisk::Asterisk;
use support::lab_call::{Pair, assert_legs_balance, folder, wait_for_legs_ended, wait_for_pairs};
use support::lab_phone::Script;
use support::product_programs::{self, Vendors};
use support::product_speech::Phrase;

const FIRST_WORD_S: f64 = 1.5;
/// The gateway redials with a growing pause, at most a few seconds.
const RECONNECT_WAIT: Duration = Duration::from_secs(20);

const AFTERWARDS: Pair = Pair {
    name: "afterwards",
    codec: "pcma",
    in_english: &[Phrase {
        en: "There is a mistake on my bill.",
        fr: "Il y a une erreur sur ma facture.",
    }],
    in_french: &[Phrase {
        en: "The heating in my apartment does not work.",
        fr: "Le chauffage de mon appartement ne fonctionne pas.",
    }],
};

#[test]
fn new_calls_work_after_asterisk_restarts() {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder("restart");
    let vendors = Vendors::start();
    let diglot = product_programs::run(&asterisk, &vendors);
    let doomed = ["7777", "8888"].map(|extension| {
        let script = Script::new(extension, extension).option("--seconds", "60");
        let phone = script.call(&asterisk, &folder);
        phone.wait_for_answer();
        phone
    });
    wait_for_pairs(&diglot, 1);
    asterisk.restart();
    for phone in doomed {
        phone.abandon();
    }
    diglot.wait_for_lines("connected, application", 2, RECONNECT_WAIT);
    wait_for_legs_ended(&diglot, 2);

    let callers = AFTERWARDS.callers(&folder, FIRST_WORD_S);
    for talk in callers.map(|caller| caller.call(&asterisk, &folder)) {
        talk.assert_heard();
    }
    asterisk.assert_empty();
    assert_legs_balance(&diglot);
}
