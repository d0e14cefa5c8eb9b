//! The control thread against a fake Asterisk with real shapes: set-up, hang-up at every stage,
//! refusals, lost connections, restarts.

#[path = "support/config.rs"]
mod config;
#[path = "support/driver.rs"]
mod driver;
#[path = "support/fake_ari.rs"]
mod fake_ari;

use std::time::Duration;

use diglot::call::{CallCount, Change, EndReason, Input, SetupStage};
use driver::Driver;
use fake_ari::{Action, FakeAri};

const LEGS_MAX: usize = 8;

fn start() -> (FakeAri, Driver) {
    let fake = FakeAri::start();
    let driver = Driver::start(&config::with_ari(&fake.url(), LEGS_MAX));
    fake.wait_connected(1);
    (fake, driver)
}

fn is_bridged(fake: &FakeAri, caller: &str) {
    fake.wait("the caller and a media channel in one bridge", |world| {
        world
            .bridges
            .values()
            .any(|members| members.len() == 2 && members.contains(caller))
    });
}

/// Goal: the order of requests that the real Asterisk needs, with ids that we chose ourselves.
#[test]
fn a_call_is_set_up_in_order_and_taken_down_in_order() {
    let (fake, driver) = start();
    let caller = fake.call("7777");
    let (leg, call_id) = driver.next_start();
    assert_eq!(call_id, caller);
    is_bridged(&fake, &caller);
    fake.hang_up(&caller);
    assert_eq!(
        driver.next(),
        Change::EndLeg {
            leg,
            reason: EndReason::CallerLeft
        }
    );
    fake.wait_empty();

    let requests = fake.requests();
    let media = requests[2]
        .split(['=', '&'])
        .nth(1)
        .expect("channelId")
        .to_owned();
    assert!(
        media.starts_with("diglot-diglot-") && media.ends_with("-1-media"),
        "{media}"
    );
    let bridge = media.replace("media", "bridge");
    let expected = [
        format!("POST /ari/channels/{caller}/answer"),
        format!("POST /ari/bridges?type=mixing&bridgeId={bridge}&name={bridge}"),
        format!(
            "POST /ari/channels/externalMedia?channelId={media}&app=diglot\
             &external_host=127.0.0.1%3A5000&format=slin16"
        ),
        format!("POST /ari/bridges/{bridge}/addChannel?channel={caller},{media}"),
        format!("DELETE /ari/channels/{media}?reason=normal"),
        format!("DELETE /ari/bridges/{bridge}"),
    ];
    assert_eq!(requests, expected);
}

/// Goal: the media channel is not bridged before it has come into the application by itself.
#[test]
fn the_media_channel_is_awaited() {
    let (fake, driver) = start();
    fake.add_rule("POST", "externalMedia", Action::WithholdMedia);
    fake.call("7777");
    driver.next_start();
    let media = fake
        .world()
        .channels
        .keys()
        .find(|id| id.ends_with("media"))
        .cloned();
    let media = media.expect("it was made");
    // A round trip through the control thread: had it asked to bridge, it would be seen by now.
    let other = fake.call("9999");
    fake.wait("the other caller gone", |world| {
        !world.channels.contains_key(&other)
    });
    assert!(
        !fake
            .requests()
            .iter()
            .any(|request| request.contains("addChannel"))
    );
    fake.tell_channel("StasisStart media", &media);
    fake.wait("bridged", |world| {
        world.bridges.values().any(|members| members.len() == 2)
    });
}

/// Goal: 422 is answered by trying again, not by giving up the call.
#[test]
fn bridging_is_tried_again_after_422() {
    let (fake, driver) = start();
    for _ in 0..3 {
        fake.add_rule("POST", "addChannel", Action::Status(422));
    }
    let caller = fake.call("8888");
    driver.next_start();
    is_bridged(&fake, &caller);
    let tries = fake
        .requests()
        .iter()
        .filter(|request| request.contains("addChannel"))
        .count();
    assert_eq!(tries, 4);
}

/// Goal: a caller who hangs up at any stage of the set-up leaves nothing behind.
#[test]
fn hanging_up_during_set_up_leaves_nothing_behind() {
    for path in ["answer", "bridges?", "externalMedia", "addChannel"] {
        let (fake, mut driver) = start();
        fake.add_rule("POST", path, Action::CallersHangUp);
        fake.call("7777");
        fake.wait(path, |world| {
            world.requests.iter().any(|(r, _)| r.contains(path))
        });
        fake.wait_empty();
        // A later call shows that the control thread is well, and that the leg was freed.
        let caller = fake.call("7777");
        is_bridged(&fake, &caller);
        driver.shut_down();
        fake.wait_empty();
    }
}

/// Goal: so does one who hangs up while a request is under way, and one whose media never comes.
#[test]
fn hanging_up_while_something_is_awaited_leaves_nothing_behind() {
    for path in ["answer", "bridges?", "externalMedia", "addChannel"] {
        let (fake, _driver) = start();
        fake.add_rule("POST", path, Action::Hold);
        let caller = fake.call("7777");
        fake.wait(path, fake_ari::World::is_held);
        fake.hang_up(&caller);
        fake.release();
        fake.wait_empty();
    }
    let (fake, driver) = start();
    fake.add_rule("POST", "externalMedia", Action::WithholdMedia);
    let caller = fake.call("7777");
    driver.next_start();
    fake.hang_up(&caller);
    fake.wait_empty();
}

/// Goal: a request that fails ends the call: the caller is hung up, and nothing is left behind.
#[test]
fn a_failed_request_ends_the_call() {
    for path in ["answer", "bridges?", "externalMedia", "addChannel"] {
        let (fake, driver) = start();
        fake.add_rule("POST", path, Action::Status(500));
        let caller = fake.call("7777");
        fake.wait("the caller gone", |world| {
            !world.channels.contains_key(&caller)
        });
        fake.wait_empty();
        let hang_up = format!("DELETE /ari/channels/{caller}?reason=congestion");
        let count = fake
            .requests()
            .iter()
            .filter(|request| **request == hang_up)
            .count();
        assert_eq!(count, 1, "{path}");
        assert_eq!(driver.count(CallCount::SetupFailed), 1);
    }
}

/// Goal: a reply that is lost with its connection is a failure like any other, and what Asterisk
/// did all the same is undone.
#[test]
fn a_lost_reply_ends_the_call() {
    let (fake, driver) = start();
    fake.add_rule("POST", "externalMedia", Action::DropReply);
    fake.call("7777");
    fake.wait("the media channel deleted", |world| {
        world
            .requests
            .iter()
            .any(|(r, _)| r.starts_with("DELETE") && r.contains("-media"))
    });
    fake.wait_empty();
    assert!(driver.is_quiet(), "no leg was started");
}

/// Goal: a deletion that fails is tried again.
#[test]
fn a_failed_deletion_is_tried_again() {
    let (fake, driver) = start();
    fake.add_rule("DELETE", "-media", Action::Status(500));
    fake.add_rule("DELETE", "-bridge", Action::DropReply);
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    fake.hang_up(&caller);
    fake.wait_empty();
    driver.next_start();
}

/// Goal: first come, first served, with three pairs at once.
#[test]
fn three_pairs_are_made_in_the_order_of_the_calls() {
    let (fake, driver) = start();
    let mut english = Vec::new();
    for _ in 0..3 {
        fake.call("7777");
        english.push(driver.next_start().0);
    }
    for first in english {
        fake.call("8888");
        let (second, _) = driver.next_start();
        assert_eq!(
            driver.next(),
            Change::Pair {
                legs: [first, second]
            }
        );
    }
}

/// Goal: whose partner left waits again, and is paired with the next.
#[test]
fn a_caller_left_alone_gets_the_next_partner() {
    let (fake, driver) = start();
    fake.call("7777");
    let (english, _) = driver.next_start();
    let partner = fake.call("8888");
    let (french, _) = driver.next_start();
    assert_eq!(
        driver.next(),
        Change::Pair {
            legs: [english, french]
        }
    );
    // Who leaves while his bridge is being filled fails its filling, which is another ending.
    is_bridged(&fake, &partner);
    fake.hang_up(&partner);
    assert_eq!(
        driver.next(),
        Change::Unpair {
            legs: [english, french]
        }
    );
    let reason = EndReason::CallerLeft;
    assert_eq!(
        driver.next(),
        Change::EndLeg {
            leg: french,
            reason
        }
    );
    fake.call("8888");
    let (next, _) = driver.next_start();
    assert_eq!(
        driver.next(),
        Change::Pair {
            legs: [english, next]
        }
    );
}

/// Goal: who dials what we do not serve, or comes when all legs are in use, is hung up and counted.
#[test]
fn callers_beyond_our_means_are_refused() {
    let (fake, driver) = start();
    let stranger = fake.call("9999");
    fake.wait("refused", |world| !world.channels.contains_key(&stranger));
    for _ in 0..LEGS_MAX {
        fake.call("7777");
        driver.next_start();
    }
    let one_too_many = fake.call("7777");
    fake.wait("refused", |world| {
        !world.channels.contains_key(&one_too_many)
    });
    assert_eq!(driver.count(CallCount::RefusedUnknownExtension), 1);
    assert_eq!(driver.count(CallCount::RefusedFull), 1);
    let requests = fake.requests();
    assert!(requests.contains(&format!(
        "DELETE /ari/channels/{stranger}?reason=unallocated"
    )));
    assert!(requests.contains(&format!(
        "DELETE /ari/channels/{one_too_many}?reason=congestion"
    )));
}

/// Goal: somebody else's media channel in our application is not taken for a caller.
#[test]
fn a_media_channel_is_not_a_caller() {
    let (fake, _driver) = start();
    let foreign = r#"{"type":"StasisStart","args":["7777"],
        "channel":{"id":"1795330596.99","name":"UnicastRTP/127.0.0.1:9-0x1"}}"#;
    fake.tell(foreign);
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    assert!(
        !fake
            .requests()
            .iter()
            .any(|request| request.contains("1795330596.99"))
    );
}

/// Goal: one slow reply does not hold up another caller's set-up.
#[test]
fn a_slow_request_delays_no_other_call() {
    let (fake, driver) = start();
    fake.add_rule("POST", "answer", Action::Hold);
    let slow = fake.call("7777");
    fake.wait("held", fake_ari::World::is_held);
    let quick = fake.call("7777");
    assert_eq!(driver.next_start().1, quick);
    is_bridged(&fake, &quick);
    fake.release();
    assert_eq!(driver.next_start().1, slow);
}

/// Goal: what cannot be read is counted, and the call goes on; what is too long costs the socket,
/// which comes back.
#[test]
fn broken_and_oversized_events_are_survived() {
    let (fake, driver) = start();
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    driver.next_start();
    for broken in [
        "{",
        "[]",
        "{\"type\":7}",
        r#"{"type":"StasisStart"}"#,
        "\u{0}",
    ] {
        fake.tell(broken);
    }
    fake.tell(r#"{"type":"SomethingNew","channel":{"id":"1","what":{"ever":[1,2]}}}"#);
    let other = fake.call("8888");
    is_bridged(&fake, &other);
    assert_eq!(driver.count(CallCount::EventBroken), 5);
    driver.next_start();
    assert!(matches!(driver.next(), Change::Pair { .. }));

    fake.tell(&format!(r#"{{"type":"{}"}}"#, "x".repeat(300_000)));
    fake.wait_connected(2);
    fake.hang_up(&caller);
    assert!(
        matches!(driver.next(), Change::Unpair { .. }),
        "both calls went on until then"
    );
    assert_eq!(driver.count(CallCount::EventOversized), 1);
}

/// Goal: Asterisk may start after us.
#[test]
fn asterisk_may_come_later() {
    let fake = FakeAri::start_down();
    let driver = Driver::start(&config::with_ari(&fake.url(), LEGS_MAX));
    fake.boot();
    fake.wait_connected(1);
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    driver.next_start();
}

/// Goal: a lost event socket ends no call; what was missed meanwhile is made up for.
#[test]
fn calls_outlive_the_event_socket() {
    let (fake, driver) = start();
    let [stays, leaves] = ["7777", "8888"].map(|number| {
        let caller = fake.call(number);
        is_bridged(&fake, &caller);
        caller
    });
    let (first, _) = driver.next_start();
    let (second, _) = driver.next_start();
    assert_eq!(
        driver.next(),
        Change::Pair {
            legs: [first, second]
        }
    );

    fake.drop_socket();
    fake.hang_up(&leaves);
    let comes = fake.call("8888");
    fake.wait_connected(2);
    assert_eq!(
        driver.next(),
        Change::Unpair {
            legs: [first, second]
        }
    );
    let reason = EndReason::Vanished;
    assert_eq!(
        driver.next(),
        Change::EndLeg {
            leg: second,
            reason
        }
    );
    let (third, call_id) = driver.next_start();
    assert_eq!(call_id, comes);
    assert_eq!(
        driver.next(),
        Change::Pair {
            legs: [first, third]
        }
    );
    is_bridged(&fake, &comes);
    is_bridged(&fake, &stays);
    fake.wait("what the lost call had is gone", |world| {
        world.bridges.len() == 2 && world.channels.len() == 4
    });
    assert_eq!(driver.count(CallCount::Adopted), 1);
}

/// Goal: a peer that vanished without a word is noticed by its silence.
#[test]
fn a_silent_event_socket_is_given_up() {
    let (fake, driver) = start();
    fake.world().is_deaf = true;
    fake.wait_connected(2);
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    driver.next_start();
}

/// Goal: a wrong password is no reason to hammer, or to end.
#[test]
fn a_refused_gateway_tries_again() {
    let fake = FakeAri::start();
    fake.world().refuses = 2;
    let driver = Driver::start(&config::with_ari(&fake.url(), LEGS_MAX));
    fake.wait_connected(1);
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    driver.next_start();
}

/// Goal: what a killed process left is deleted, and its callers are served again.
#[test]
fn leftovers_are_deleted_and_callers_adopted() {
    let fake = FakeAri::start();
    let killed = Driver::start(&config::with_ari(&fake.url(), LEGS_MAX));
    fake.wait_connected(1);
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    killed.next_start();
    // The one that is replaced keeps its hands off the caller, as a killed one would.
    let driver = Driver::start(&config::with_ari(&fake.url(), LEGS_MAX));
    fake.wait_connected(2);
    assert_eq!(driver.next_start().1, caller);
    assert!(matches!(
        killed.next(),
        Change::EndLeg {
            reason: EndReason::Replaced,
            ..
        }
    ));
    fake.wait("one call, in one bridge", |world| {
        let bridged = world.bridges.values().all(|members| members.len() == 2);
        bridged && world.bridges.len() == 1 && world.channels.len() == 2
    });
}

/// Goal: Asterisk restarts in mid-call with no memory: the legs end, new calls work.
#[test]
fn calls_end_when_asterisk_restarts_and_new_ones_work() {
    let (fake, driver) = start();
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    let (leg, _) = driver.next_start();
    fake.crash();
    fake.boot();
    fake.wait_connected(2);
    // By the list, or because the last reply of the set-up was lost.
    assert!(matches!(driver.next(), Change::EndLeg { leg: ended, .. } if ended == leg));
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    driver.next_start();
}

/// Goal: the end of the process deletes everything, soon; also when Asterisk is gone.
#[test]
fn shutting_down_leaves_nothing_and_takes_bounded_time() {
    let (fake, mut driver) = start();
    for number in ["7777", "8888", "7777"] {
        let caller = fake.call(number);
        is_bridged(&fake, &caller);
    }
    driver.shut_down();
    let world = fake.world();
    assert!(world.channels.is_empty() && world.bridges.is_empty());
    drop(world);

    let (fake, mut driver) = start();
    let caller = fake.call("7777");
    is_bridged(&fake, &caller);
    fake.add_rule("DELETE", "-media", Action::Hold);
    assert!(
        driver.shut_down() < Duration::from_secs(8),
        "3 s, and one request's time limit"
    );
    fake.release();
}

/// Goal: a set-up that fails says where and why.
#[test]
fn a_failed_bridging_names_its_stage() {
    let (fake, driver) = start();
    fake.add_rule("POST", "addChannel", Action::Status(409));
    fake.call("7777");
    let (leg, _) = driver.next_start();
    let reason = EndReason::SetupFailed {
        stage: SetupStage::Bridging,
        status: Some(409),
    };
    assert_eq!(driver.next(), Change::EndLeg { leg, reason });
}

/// Goal: without ARI, sources make legs and silence ends them.
#[test]
fn without_ari_sources_are_legs() {
    use diglot_rt::msg::PortIndex;
    let mut driver = Driver::start(&config::without_ari(2));
    let source = |n: u8| ([127, 0, 0, n], 4000).into();
    let tell = |input| driver.handle.tell(input).expect("there is room");
    tell(Input::UnknownSource {
        port: PortIndex(0),
        source: source(1),
    });
    tell(Input::UnknownSource {
        port: PortIndex(0),
        source: source(1),
    });
    tell(Input::UnknownSource {
        port: PortIndex(1),
        source: source(1),
    });
    tell(Input::UnknownSource {
        port: PortIndex(1),
        source: source(2),
    });
    tell(Input::UnknownSource {
        port: PortIndex(9),
        source: source(3),
    });
    let (first, _) = driver.next_start();
    let (second, call_id) = driver.next_start();
    assert_eq!(call_id, "127.0.0.1:4000");
    assert_eq!(
        driver.next(),
        Change::Pair {
            legs: [first, second]
        }
    );
    tell(Input::LegSilent { leg: first });
    tell(Input::LegSilent { leg: first });
    assert_eq!(
        driver.next(),
        Change::Unpair {
            legs: [second, first]
        }
    );
    let reason = EndReason::Silent;
    assert_eq!(driver.next(), Change::EndLeg { leg: first, reason });
    driver.shut_down();
    let reason = EndReason::Shutdown;
    assert_eq!(
        driver.next(),
        Change::EndLeg {
            leg: second,
            reason
        }
    );
    assert!(driver.is_quiet());
    assert_eq!(driver.count(CallCount::RefusedFull), 1);
    assert_eq!(driver.count(CallCount::RefusedUnknownExtension), 1);
}
