//! Goal: whoever hangs up, and whenever, nothing of a call stays behind, and the line of the one
//! who stays is kept for the next partner.
//! Method: a real Asterisk, two phones, the loop engine; each kind of hang-up, then Asterisk's own
//! count of channels and bridges and the gateway's account of its legs.

mod support;

use std::path::Path;
use std::time::Duration;

use support::lab_asterisk::Asterisk;
use support::lab_call::{assert_legs_balance, folder, wait_for_legs_ended, wait_for_pairs};
use support::lab_phone::{Phone, Script};
use support::product_process::Process;
use support::product_programs;

/// Longer than any scenario: these calls end because somebody hangs up.
const TALK_S_MAX: &str = "30";
const TALK_MAX: Duration = Duration::from_secs(30);
/// Moments of a call's set-up at which its caller gives up, in seconds after the INVITE: at once,
/// before, at and after the answer (2 to 20 ms), and while the media leg is being made.
const GIVE_UP_AFTER_S: [&str; 10] = [
    "0", "0.001", "0.002", "0.004", "0.006", "0.01", "0.02", "0.03", "0.05", "0.1",
];

#[test]
fn the_first_caller_hangs_up_first() {
    hang_up_one(Who::First);
}

#[test]
fn the_second_caller_hangs_up_first() {
    hang_up_one(Who::Second);
}

#[test]
fn callers_who_give_up_during_set_up_leave_nothing_behind() {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder("give_up");
    let diglot = product_programs::run_loop(&asterisk);
    for (index, after_s) in GIVE_UP_AFTER_S.into_iter().enumerate() {
        let extension = if index % 2 == 0 { "7777" } else { "8888" };
        let phone = Script::new(&format!("hasty-{index}"), extension)
            .option("--cancel-after", after_s)
            .option("--seconds", "0")
            .call(&asterisk, &folder);
        phone.finish(TALK_MAX);
    }
    asterisk.assert_empty();
    assert_legs_balance(&diglot);

    let [first, second] = both_in_a_call(&asterisk, &diglot, &folder);
    first.hang_up_and_finish();
    second.hang_up_and_finish();
    asterisk.assert_empty();
    assert_legs_balance(&diglot);
}

#[derive(Clone, Copy, Debug)]
enum Who {
    First,
    Second,
}

fn hang_up_one(who: Who) {
    let Some(asterisk) = Asterisk::start() else {
        return;
    };
    let folder = folder(&format!("hang_up_{who:?}").to_lowercase());
    let diglot = product_programs::run_loop(&asterisk);
    let [first, second] = both_in_a_call(&asterisk, &diglot, &folder);
    let (leaves, leaves_number, stays) = match who {
        Who::First => (first, "7777", second),
        Who::Second => (second, "8888", first),
    };
    leaves.hang_up_and_finish();
    wait_for_legs_ended(&diglot, 1);

    // The one who stayed is interpreted with whoever calls next.
    let next = Script::new("next", leaves_number)
        .option("--seconds", TALK_S_MAX)
        .call(&asterisk, &folder);
    next.wait_for_answer();
    wait_for_pairs(&diglot, 2);
    next.hang_up_and_finish();
    stays.hang_up_and_finish();
    wait_for_legs_ended(&diglot, 3);
    asterisk.assert_empty();
    assert_legs_balance(&diglot);
}

fn both_in_a_call(asterisk: &Asterisk, diglot: &Process, folder: &Path) -> [Phone; 2] {
    let phones = [("first", "7777"), ("second", "8888")].map(|(name, extension)| {
        let script = Script::new(name, extension).option("--seconds", TALK_S_MAX);
        let phone = script.call(asterisk, folder);
        phone.wait_for_answer();
        phone
    });
    wait_for_pairs(diglot, 1);
    phones
}

trait HangUp {
    fn hang_up_and_finish(self);
}

impl HangUp for Phone {
    /// Hangs up and checks that the call ended so.
    fn hang_up_and_finish(mut self) {
        self.hang_up();
        self.finish(TALK_MAX);
    }
}
