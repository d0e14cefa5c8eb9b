//! Goal: on a network that loses, delays, repeats and disorders packets, every caller still hears
//! one whole stream of frames, and their partner in it.
//! Method: the real program with the loop engine over sockets of loopback; `rtp-blaster` calls it
//! with all these faults at once. What it tells and what the program has counted are compared with
//! bounds that a busy machine keeps.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::lab_asterisk::free_udp_port;
use support::product_process::Process;
use support::product_programs::program;

/// Starting, or a run of some seconds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LEGS: u64 = 20;
const SECONDS: u64 = 6;
const MARKERS_EVERY_S: u64 = 1;
const FRAMES_PER_S: u64 = 50;
/// A load that is itself so late adds faults to those of the network, and whether most markers are
/// heard, which a lost packet or a repair spoils, says nothing about the program.
const LATE_US: u64 = 20_000;
/// 2 % of packets lost in bursts of three, 3 % out of order, 2 % twice, late by chance up to 15 ms,
/// clocks up to 200 ppm apart.
const FAULTS: [&str; 10] = [
    "--burst-loss",
    "2:3",
    "--reorder",
    "3",
    "--duplicate",
    "2",
    "--jitter",
    "15",
    "--skew-ppm",
    "200",
];
/// What the program must have noticed of them.
const REPAIRS: [&str; 2] = ["rx_frame_concealed_total", "rx_drop_duplicate_total"];

#[test]
fn a_bad_network_costs_no_frame_on_the_way_to_the_ear() {
    let ports: Vec<String> = (0..2)
        .map(|_| format!("127.0.0.1:{}", free_udp_port()))
        .collect();
    let mut product = diglot(&ports);
    let report = load(&ports);
    product.terminate();

    let down = &report["downlink"];
    for fault in [
        "doubled_by_timestamp",
        "duplicates",
        "reordered",
        "ssrc_changes",
        "payload_type_errors",
        "malformed",
        "from_strangers",
    ] {
        assert_eq!(down[fault], 0, "{fault}: {down:#}");
    }
    // A machine that stood still is not the program's fault: it says which ticks it skipped, and
    // the load which packets it did not read in time.
    let skipped = LEGS * counted(&product, "tx_tick_missed_total");
    let unread = number(&report["machine"]["dropped_here"]);
    for (fault, allowed) in [
        ("lost", unread),
        ("missing_by_timestamp", skipped + unread),
        ("sequence_jumps", unread),
        ("timestamp_errors", skipped + unread),
    ] {
        let count = number(&down[fault]);
        assert!(
            count <= allowed,
            "{fault}: {count}, of the machine {allowed}"
        );
    }
    assert_eq!(report["legs_unheard"], 0);
    // By the clock, the last ones of the window may be late.
    let (frames, expected) = (number(&down["packets"]), LEGS * SECONDS * FRAMES_PER_S);
    let count = frames + skipped + unread;
    assert!(count >= expected * 9 / 10, "{count} of {expected} frames");

    let up = &report["uplink"];
    for spoiled in ["lost_in_bursts", "held_back", "duplicated"] {
        assert_ne!(number(&up[spoiled]), 0, "the network was good: {up:#}");
    }
    for counter in REPAIRS {
        assert_ne!(counted(&product, counter), 0, "{counter}");
    }

    let heard = number(&report["markers"]["heard"]);
    let said = LEGS * SECONDS / MARKERS_EVERY_S;
    let is_on_time = number(&report["pacing"]["p99_us"]) < LATE_US && skipped + unread == 0;
    assert!(
        heard * 2 >= said || !is_on_time,
        "{heard} of {said} markers"
    );
}

/// `diglot run` with both ends of the loop on these ports, ready for callers.
fn diglot(ports: &[String]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diglot"));
    command.arg("run");
    for setting in [
        "asterisk.control=none",
        "translator.engine=loop",
        "translator.listen=127.0.0.1:0",
        "monitor.listen=127.0.0.1:0",
        &format!("extension.7777.listen={}", ports[0]),
        &format!("extension.8888.listen={}", ports[1]),
    ] {
        command.args(["--set", setting]);
    }
    let product = Process::start("diglot run", &mut command);
    for port in ports {
        product.wait_for_line(port, PATIENCE);
    }
    product
}

/// What a load with all faults tells, in its own words.
fn load(ports: &[String]) -> Value {
    let json = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("bad-network-{}.json", std::process::id()));
    let mut command = Command::new(program("rtp-blaster"));
    command.args(["load", "--codec", "slin16", "--ramp", "1", "--warm-up", "2"]);
    command.args(["--legs", &LEGS.to_string()]);
    command.args(["--seconds", &SECONDS.to_string()]);
    command.args(["--markers", &MARKERS_EVERY_S.to_string()]);
    // Who comes first is paired first, and packets lost at the beginning change who that is.
    command.args(["--hears", "anyone"]);
    command.args(ports.iter().flat_map(|port| ["--to", port]));
    command.args(FAULTS).arg("--json").arg(&json);
    let status = Process::start("rtp-blaster", &mut command).wait(PATIENCE);
    assert!(status.success(), "{status}");
    let report = read(&json);
    let _ = fs::remove_file(&json);
    report
}

fn read(json: &Path) -> Value {
    serde_json::from_slice(&fs::read(json).unwrap()).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// The newest value of a counter in the log's lines of counts; 0 if it never grew.
fn counted(product: &Process, counter: &str) -> u64 {
    let lines = product.lines();
    let values = lines.iter().rev().filter_map(|line| {
        let (_, rest) = line.split_once(counter)?;
        rest.split_whitespace().next()?.parse().ok()
    });
    values.into_iter().next().unwrap_or(0)
}
