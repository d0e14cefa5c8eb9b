//! Goal: the load's figures are exact: what it spoils on purpose is what it then counts.
//! Method: real sockets on loopback; the far end is the relay, or an echo with faults of its own.
//! Counts are compared, never wall-clock jitter.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rtp_blaster::codec::UplinkCodec;
use rtp_blaster::load::impairment::{BurstLoss, Impairment, Jitter, JitterShape};
use rtp_blaster::load::plan::{Cycle, Hears, Plan, Voice};
use rtp_blaster::load::report::LoadReport;
use rtp_blaster::load::threshold::Threshold;
use rtp_blaster::load::{self, LoadError};
use rtp_blaster::relay::Course;

use support::{Echo, Relay};

const LEGS: u64 = 6;
/// Frames of a leg in the window of a second.
const FRAMES: u64 = 50;

/// Six legs over the given ports for a second, everything counted from the first packet.
fn plan(to: Vec<SocketAddr>) -> Plan {
    Plan {
        voice: Voice::Markers(Duration::from_millis(500)),
        ramp: Duration::ZERO,
        warm_up: Duration::ZERO,
        window: Duration::from_secs(1),
        ..Plan::new(to, LEGS as usize)
    }
}

fn run(plan: &Plan) -> LoadReport {
    load::run(plan, Arc::default(), |_| {}).expect("a load on loopback runs")
}

/// The relay back to the sender with this done to the packets.
fn through_echo(change: impl FnOnce(&mut Plan)) -> LoadReport {
    let relay = Relay::start(2, Course::Back);
    let mut plan = plan(relay.addresses.clone());
    plan.hears = Hears::Self_;
    change(&mut plan);
    run(&plan)
}

fn impaired(impairment: Impairment) -> LoadReport {
    through_echo(|plan| plan.impairment = impairment)
}

#[test]
fn a_clean_line_has_no_faults() {
    let report = through_echo(|_| {});
    let (up, down) = (&report.uplink, &report.downlink);
    assert_eq!((up.packets, up.frames), (LEGS * FRAMES, LEGS * FRAMES));
    assert_eq!((down.packets, down.frames), (LEGS * FRAMES, LEGS * FRAMES));
    assert_eq!(down.missing_by_timestamp, 0);
    assert_eq!((down.lost, down.duplicates, down.reordered), (0, 0, 0));
    assert_eq!((down.frames_doubled, down.timestamp_errors), (0, 0));
    assert_eq!((down.ssrc_changes, down.payload_type_errors), (0, 0));
    assert_eq!(down.by_payload_type, [(0, LEGS * FRAMES)].into());
    assert_eq!(report.legs_unheard, 0);
    assert_eq!(report.deviation.count, LEGS * (FRAMES - 1));
    assert_eq!(report.pacing.count, LEGS * FRAMES);
    let markers = report.markers.expect("markers were said");
    assert_eq!((markers.on_wrong_leg, markers.garbled), (0, 0));
    assert!((LEGS..=LEGS * 2).contains(&markers.heard), "{markers:?}");
}

#[test]
fn what_was_lost_on_purpose_is_what_is_missed() {
    let report = impaired(Impairment {
        loss: 0.10,
        ..Impairment::default()
    });
    assert!(report.uplink.lost > 20);
    assert_eq!(report.uplink.packets + report.uplink.lost, LEGS * FRAMES);
    assert_eq!(report.downlink.packets, report.uplink.packets);
    assert_eq!(report.downlink.lost, report.uplink.lost_visibly);
    assert_eq!(
        report.downlink.missing_by_timestamp,
        report.uplink.lost_visibly
    );
    assert_eq!(report.downlink.timestamp_errors, 0);
    // The same seed loses the same packets.
    let again = impaired(Impairment {
        loss: 0.10,
        ..Impairment::default()
    });
    assert_eq!(again.uplink, report.uplink);
}

#[test]
fn bursts_are_lost_and_missed_exactly() {
    let burst_loss = Some(BurstLoss {
        mean_loss: 0.2,
        burst_packets: 5.0,
        bad_loss: 1.0,
    });
    let report = impaired(Impairment {
        burst_loss,
        ..Impairment::default()
    });
    assert!(report.uplink.lost_in_bursts > 20);
    assert_eq!(report.downlink.lost, report.uplink.lost_visibly);
    assert_eq!(report.downlink.packets, report.uplink.packets);
    assert!(report.downlink.gap_ms_max > 60.0, "several in a row");
}

#[test]
fn duplicates_are_counted_exactly() {
    let report = impaired(Impairment {
        duplicate: 0.15,
        ..Impairment::default()
    });
    assert!(report.uplink.duplicated > 20);
    assert_eq!(report.downlink.duplicates, report.uplink.duplicated);
    assert_eq!(report.downlink.frames, LEGS * FRAMES);
    assert_eq!(report.downlink.doubled_by_timestamp, 0);
    assert!(report.downlink.frames_doubled >= report.uplink.duplicated);
}

#[test]
fn reordered_packets_are_neither_lost_nor_doubled() {
    let report = impaired(Impairment {
        reorder: 0.10,
        ..Impairment::default()
    });
    assert!(report.uplink.held_back > 20);
    let down = &report.downlink;
    // Two held back in a row keep their order between them, so no more than were held back.
    assert!((1..=report.uplink.held_back).contains(&down.reordered));
    assert_eq!((down.lost, down.duplicates), (0, 0));
    assert_eq!(down.packets, LEGS * FRAMES);
    assert_eq!(report.machine.undelayed, 0);
}

#[test]
fn jitter_delays_and_loses_nothing() {
    let jitter = Some(Jitter {
        shape: JitterShape::Uniform,
        scale: Duration::from_millis(12),
    });
    let report = impaired(Impairment {
        jitter,
        ..Impairment::default()
    });
    assert_eq!(report.downlink.packets, LEGS * FRAMES);
    assert_eq!((report.downlink.lost, report.downlink.reordered), (0, 0));
    // Two uniform delays up to 12 ms differ by 4 ms in the mean.
    assert!(report.deviation.p50_us > 1_500, "{:?}", report.deviation);
}

#[test]
fn pauses_and_events_are_gaps_of_their_own_kind() {
    let report = through_echo(|plan| {
        plan.pause = Some(Cycle {
            every: Duration::from_millis(500),
            length: Duration::from_millis(100),
        });
    });
    // Two pauses of five frames; the last one ends the run.
    assert_eq!(report.uplink.muted, LEGS * 10);
    assert_eq!(report.downlink.packets, LEGS * 40);
    assert_eq!(report.downlink.lost, 0);
    assert_eq!(report.downlink.missing_by_timestamp, LEGS * 5);
    assert_eq!(report.downlink.timestamp_errors, LEGS);

    let report = through_echo(|plan| {
        plan.telephone_event_every = Some(Duration::from_millis(500));
        plan.accepted = vec![0];
    });
    // An event of 8 + 2 packets in each half of the second.
    assert_eq!(report.uplink.event_packets, LEGS * 20);
    assert_eq!(report.downlink.payload_type_errors, LEGS * 20);
    assert_eq!(
        report.downlink.by_payload_type.get(&101),
        Some(&(LEGS * 20))
    );
}

#[test]
fn hostile_packets_come_back_to_whom_they_belong() {
    let report = through_echo(|plan| {
        plan.malformed_per_s = 200;
        plan.spoofed_per_s = 100;
    });
    // Sent from legs' own addresses, so an echo gives them back; spoofed ones go back elsewhere.
    assert_eq!(
        (report.hostile.malformed, report.hostile.spoofed),
        (200, 100)
    );
    assert_eq!(report.downlink.malformed, 200);
    assert_eq!(report.downlink.packets, LEGS * FRAMES);
    assert_eq!((report.downlink.ssrc_changes, report.downlink.lost), (0, 0));
}

#[test]
fn crossed_legs_hear_their_partners_and_wrong_pairs_are_found() {
    let relay = Relay::start(2, Course::Cross);
    let mut crossed = plan(relay.addresses.clone());
    crossed.codec = UplinkCodec::G722;
    let report = run(&crossed);
    let markers = report.markers.expect("markers were said");
    assert_eq!((markers.on_wrong_leg, markers.garbled), (0, 0));
    assert!(markers.heard >= LEGS, "{markers:?}");
    drop(relay);

    let report = through_echo(|plan| plan.hears = Hears::Partner);
    let markers = report.markers.expect("markers were said");
    assert_eq!(markers.heard, 0);
    assert!(markers.on_wrong_leg >= LEGS, "{markers:?}");
}

#[test]
fn every_codec_and_content_goes_through() {
    let samples = |codec: UplinkCodec| (0..codec.frame_samples() as i16 * 10).collect();
    for name in ["pcma", "slin", "slin16", "g722"] {
        let codec = UplinkCodec::from_name(name).expect("a codec");
        for voice in [Voice::Tone, Voice::Wav(samples(codec))] {
            let report = through_echo(|plan| {
                plan.codec = codec;
                plan.voice = voice;
                plan.window = Duration::from_millis(300);
            });
            let down = &report.downlink;
            let expected = [(codec.payload_type(), LEGS * 15)].into();
            assert_eq!(down.by_payload_type, expected, "{name}");
            assert_eq!((down.timestamp_errors, down.missing_by_timestamp), (0, 0));
            assert_eq!(report.markers, None);
        }
    }
}

#[test]
fn a_doubled_frame_counts_whatever_its_sequence_number() {
    // The gateway sends the same frame twice under a sequence number of its own, and one number
    // less after that: as a tick that ran twice.
    let mut extra = 0_u16;
    let echo = Echo::start(Duration::ZERO, move |number, packet| {
        let numbered = |mut packet: Vec<u8>, add: u16| {
            let number = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(add);
            packet[2..4].copy_from_slice(&number.to_be_bytes());
            packet
        };
        let first = numbered(packet.clone(), extra);
        if number != 41 {
            return vec![first];
        }
        extra = 1;
        vec![first, numbered(packet, extra)]
    });
    let mut plan = plan(vec![echo.address]);
    plan.legs = 2;
    let report = run(&plan);
    let down = &report.downlink;
    assert_eq!((down.doubled_by_timestamp, down.duplicates), (1, 0));
    assert!(down.frames_doubled >= 1);
    let limit = Threshold::new("doubled", 0.0).expect("a limit");
    assert!(limit.violation(&report).is_some());
}

#[test]
fn latency_is_that_of_the_far_end() {
    let late = Duration::from_millis(83);
    for name in ["pcmu", "slin16"] {
        let echo = Echo::start(late, |_, packet| vec![packet]);
        let mut delayed = plan(vec![echo.address]);
        delayed.codec = UplinkCodec::from_name(name).expect("a codec");
        let report = run(&delayed);
        let markers = report.markers.expect("markers were said");
        assert_eq!((markers.on_wrong_leg, markers.garbled), (0, 0));
        let p50_us = markers.latency.p50_us;
        // The echo is never early. It is late when the machine is busy, and so is the load.
        let latest_us = 103_000 + report.pacing.max_us;
        assert!((83_000..latest_us).contains(&p50_us), "{name}: {p50_us} µs");
        let ear_ms = markers.latency.p99_us as f64 / 1e3 + 20.0;
        assert!((markers.mouth_to_ear_ms_p99 - ear_ms).abs() < 1e-6);
        let of_legs = report.per_leg.iter().filter_map(|leg| leg.markers);
        let of_legs: Vec<_> = of_legs.collect();
        assert_eq!(of_legs.len() as u64, LEGS);
        assert!(of_legs.iter().all(|leg| leg.latency.p50_us >= 82_000));
        let heard: u64 = of_legs.iter().map(|leg| leg.heard).sum();
        assert_eq!(heard, markers.heard);
    }
}

#[test]
fn faults_of_the_far_end_are_told_apart() {
    let echo = Echo::start(Duration::ZERO, |number, mut packet| match number {
        100 => vec![],
        110 => vec![packet.clone(), packet],
        120 => {
            packet[11] ^= 1; // another SSRC for one packet: a change and a change back
            vec![packet]
        }
        130 => {
            packet[1] = 111;
            vec![packet]
        }
        140 => {
            packet[7] ^= 0x10; // a wrong timestamp: the step to it and from it
            vec![packet]
        }
        _ => vec![packet],
    });
    let report = run(&plan(vec![echo.address]));
    let down = &report.downlink;
    assert_eq!((down.lost, down.duplicates), (1, 1));
    assert!(
        down.frames_doubled >= 1,
        "the copy, and what the clock adds"
    );
    assert!(down.gaps >= 1, "where the lost one was");
    assert_eq!(down.ssrc_changes, 2);
    assert_eq!(down.payload_type_errors, 1);
    assert_eq!(down.timestamp_errors, 2);
    assert_eq!(down.packets, LEGS * FRAMES);
}

#[test]
fn a_silent_gateway_misses_every_frame() {
    let echo = Echo::start(Duration::ZERO, |_, _| vec![]);
    let mut short = plan(vec![echo.address]);
    short.window = Duration::from_millis(400);
    let report = run(&short);
    assert_eq!(report.legs_unheard as u64, LEGS);
    assert!((report.downlink.gap_ms_max - 400.0).abs() < 1.0);
    assert_eq!(report.downlink.frames_missing, LEGS * 20);
    let broken = Threshold::new("missing", 0.0)
        .expect("a limit")
        .violation(&report);
    assert_eq!(
        broken.as_deref(),
        Some("--fail-missing: 20 ms ticks without a frame: 120 is above 0")
    );
    let latency = Threshold::new("latency-p99-ms", 1e9).expect("a limit");
    assert!(
        latency
            .violation(&report)
            .is_some_and(|line| line.contains("not measured"))
    );
}

#[test]
fn a_stop_ends_the_window_with_its_report() {
    let relay = Relay::start(1, Course::Back);
    let mut long = plan(relay.addresses.clone());
    long.window = Duration::from_secs(600);
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let report = load::run(&long, stop, |progress| {
        if progress.elapsed >= Duration::from_secs(1) {
            seen.store(true, Ordering::Relaxed);
        }
    });
    let report = report.expect("a load on loopback runs");
    assert!(
        (0.9..10.0).contains(&report.window_s),
        "{} s",
        report.window_s
    );
    assert_eq!(report.downlink.missing_by_timestamp, 0);
    assert!(report.downlink.packets >= LEGS * 45);
}

#[test]
fn cpu_time_is_divided_by_leg_frames() {
    let relay = Relay::start(1, Course::Back);
    let mut watched = plan(relay.addresses.clone());
    watched.cpu_of = vec![std::process::id()];
    let report = run(&watched);
    let cpu = &report.cpu[0];
    let (cpu_s, us) = (
        cpu.cpu_s.expect("we live"),
        cpu.us_per_leg_frame.expect("so"),
    );
    assert!((us - cpu_s * 1e6 / (LEGS * FRAMES) as f64).abs() < 1e-6);
    watched.cpu_of = vec![u32::MAX];
    let error = load::run(&watched, Arc::default(), |_| {}).unwrap_err();
    assert!(matches!(error, LoadError::NoProcess(u32::MAX)));
}
