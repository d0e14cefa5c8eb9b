//! What a load found out, as it goes into JSON and text. Built once, after the run.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::listener::ListenerCounts;
use super::plan::{Plan, Voice};
use super::receiver::{Markers, Received};
use super::sender::Sent;
use super::spread::{Bar, Spread, Summary, micros};
use super::talker::UplinkCounts;
use crate::codec::FRAME_MS;
use crate::process::{MachineTimes, ProcessTimes, time_of_ticks};
use crate::report::seconds;

/// A run with more steal than this says little about jitter.
pub const STEAL_PERCENT_MAX: f64 = 1.0;
/// Nor does one whose own pacing is later than this at p99.9.
pub const PACING_P99_9_US_MAX: u64 = 1_000;
/// The time of day must not be set while latency is measured.
const CLOCK_STEP_MAX: Duration = Duration::from_millis(1);

/// All about one run. Counts are those of the window.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// The gateway's ports.
    pub to: Vec<SocketAddr>,
    /// How many legs.
    pub legs: usize,
    /// What they sent.
    pub codec: &'static str,
    /// Where all chance came from.
    pub seed: u64,
    /// The measured time.
    pub window_s: f64,
    /// Whether timing may be judged by this run.
    pub acceptable: bool,
    /// Why not.
    pub not_acceptable_because: Vec<String>,
    /// Sent, by all legs.
    pub uplink: UplinkCounts,
    /// Sent besides: no RTP, and RTP from strangers' addresses.
    pub hostile: HostileReport,
    /// Received, by all legs.
    pub downlink: LegDownlink,
    /// Legs that heard nothing at all.
    pub legs_unheard: usize,
    /// How far the time between two packets was from what their timestamps say: 20 ms.
    pub deviation: Summary,
    /// The same as bars of a histogram.
    pub deviation_bars: Vec<Bar>,
    /// How far packets were from their leg's own 20 ms grid.
    pub grid_deviation: Summary,
    /// What markers told; none when none were said.
    pub markers: Option<MarkerReport>,
    /// The load's own lateness.
    pub pacing: Summary,
    /// About the load itself and the machine.
    pub machine: MachineReport,
    /// CPU time of the processes asked for.
    pub cpu: Vec<CpuReport>,
    /// Leg by leg.
    pub per_leg: Vec<LegReport>,
}

/// Packets of ill will.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct HostileReport {
    /// Not RTP, from legs' own addresses.
    pub malformed: u64,
    /// RTP from addresses that are no leg's.
    pub spoofed: u64,
}

/// One leg, or all together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LegDownlink {
    /// RTP packets.
    pub packets: u64,
    /// Packets within the window, duplicates apart.
    pub frames: u64,
    /// Frames that should have come: one per 20 ms of the window.
    pub frames_expected: u64,
    /// Ticks without a frame: the larger of what timestamps and what the clock say, leg by leg.
    pub frames_missing: u64,
    /// By the timestamps between the first and the last packet.
    pub missing_by_timestamp: u64,
    /// By the clock, from the window's beginning to its end.
    pub missing_by_clock: u64,
    /// Frames that came again: duplicates, and the larger of what timestamps and what the clock say
    /// beyond them, leg by leg.
    pub frames_doubled: u64,
    /// Packets that repeat the timestamp before them under a new sequence number.
    pub doubled_by_timestamp: u64,
    /// Packets beyond one per tick, by the clock, duplicates apart.
    pub doubled_by_clock: u64,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// Sequence numbers that came again.
    pub duplicates: u64,
    /// Packets that came after a newer one.
    pub reordered: u64,
    /// Steps of the sequence too large to be loss.
    pub sequence_jumps: u64,
    /// Steps of the timestamp that do not fit the sequence.
    pub timestamp_errors: u64,
    /// Such steps under a marker.
    pub talkspurts: u64,
    /// Changes of SSRC.
    pub ssrc_changes: u64,
    /// Packets of a payload type that is not accepted.
    pub payload_type_errors: u64,
    /// Packets by payload type.
    pub by_payload_type: std::collections::BTreeMap<u8, u64>,
    /// Not RTP.
    pub malformed: u64,
    /// Not from the leg's gateway port.
    pub from_strangers: u64,
    /// Times of more than 30 ms without a packet: a tick and a half.
    pub gaps: u64,
    /// Longest time without a packet.
    pub gap_ms_max: f64,
}

/// What the markers told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MarkerReport {
    /// Heard where they belong.
    pub heard: u64,
    /// Heard on another leg.
    pub on_wrong_leg: u64,
    /// Bursts of sound that were no whole marker.
    pub garbled: u64,
    /// From the intended departure of a sample to its arrival.
    pub latency: Summary,
    /// Mouth to ear at p99: latency and the 20 ms a phone needs to fill a packet.
    pub mouth_to_ear_ms_p99: f64,
}

/// About the load and the machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MachineReport {
    /// How the load's threads were scheduled.
    pub scheduling: String,
    /// CPU time the hypervisor gave to others.
    pub steal_percent: f64,
    /// CPU time nobody wanted.
    pub idle_percent: f64,
    /// Packets the kernel dropped because the load did not read them in time.
    pub dropped_here: u64,
    /// Packets the kernel refused to send.
    pub send_errors: u64,
    /// Delayed packets that found no room and left at once.
    pub undelayed: u64,
    /// How far the time of day moved against the monotonic clock, in µs.
    pub clock_step_us: u64,
}

/// CPU time of one process in the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CpuReport {
    /// Which one.
    pub pid: u32,
    /// User and system time; none when it was gone before the end.
    pub cpu_s: Option<f64>,
    /// The same per leg and 20 ms, in µs.
    pub us_per_leg_frame: Option<f64>,
    /// Thread by thread, the busiest first.
    pub threads: Vec<ThreadReport>,
}

/// CPU time of one thread in the window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadReport {
    /// Its name.
    pub name: String,
    /// Its id.
    pub tid: u32,
    /// User and system time.
    pub cpu_s: f64,
    /// The same per leg and 20 ms, in µs.
    pub us_per_leg_frame: f64,
}

/// One leg.
#[derive(Clone, Debug, Serialize)]
pub struct LegReport {
    /// Its number.
    pub leg: usize,
    /// Our own address on it.
    pub from: SocketAddr,
    /// Sent.
    pub uplink: UplinkCounts,
    /// Received.
    pub downlink: LegDownlink,
    /// Deviation of the time between packets.
    pub deviation: Summary,
    /// Deviation from its 20 ms grid.
    pub grid_deviation: Summary,
    /// What the markers heard on it told; none when none were said.
    pub markers: Option<MarkerReport>,
}

/// Everything a report is made of.
#[derive(Debug)]
pub struct Findings<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// Our address on each leg.
    pub from: &'a [SocketAddr],
    /// The sender's part.
    pub sent: Sent,
    /// The receiver's part.
    pub received: Received,
    /// How the threads were scheduled.
    pub scheduling: String,
    /// How far the clocks moved.
    pub clock_step: Duration,
    /// The machine at both ends of the window.
    pub machine: [MachineTimes; 2],
    /// Each process at both ends of the window.
    pub processes: Vec<(u32, [Option<ProcessTimes>; 2])>,
}

impl LoadReport {
    /// Draws up the report.
    pub fn new(findings: Findings<'_>) -> Self {
        let Findings { plan, sent, .. } = &findings;
        let window = (plan.window_start(), sent.window_end);
        let length = window.1.saturating_sub(window.0);
        let leg_frames = plan.legs as f64 * length.as_secs_f64() * 1e3 / f64::from(FRAME_MS);
        let (steal, idle) = findings.machine[1].shares_since(&findings.machine[0]);
        let machine = MachineReport {
            scheduling: findings.scheduling.clone(),
            steal_percent: steal * 100.0,
            idle_percent: idle * 100.0,
            dropped_here: findings.received.dropped_here,
            send_errors: sent.send_errors,
            undelayed: sent.undelayed,
            clock_step_us: micros(findings.clock_step),
        };
        let pacing = sent.pacing.summary();
        let not_acceptable_because = objections(&machine, &pacing);
        let processes = findings.processes.iter();
        let cpu = processes.map(|(pid, times)| cpu_report(*pid, times, leg_frames));
        let mut report = Self {
            to: plan.to.clone(),
            legs: plan.legs,
            codec: plan.codec.name(),
            seed: plan.seed,
            window_s: seconds(length),
            acceptable: not_acceptable_because.is_empty(),
            not_acceptable_because,
            uplink: UplinkCounts::default(),
            hostile: HostileReport {
                malformed: sent.malformed,
                spoofed: sent.spoofed,
            },
            downlink: LegDownlink::default(),
            legs_unheard: 0,
            deviation: Summary::default(),
            deviation_bars: Vec::new(),
            grid_deviation: Summary::default(),
            markers: None,
            pacing,
            machine,
            cpu: cpu.collect(),
            per_leg: Vec::with_capacity(plan.legs),
        };
        report.add_legs(findings, window);
        report
    }

    fn add_legs(&mut self, findings: Findings<'_>, window: (Duration, Duration)) {
        let plan = findings.plan;
        let (mut deviation, mut grid_deviation) = (Spread::of_leg(), Spread::of_leg());
        let (mut heard, mut garbled) = (Markers::new(), 0);
        let has_markers = matches!(plan.voice, Voice::Markers(_));
        let received = findings.received;
        let legs = received.listeners.into_iter().zip(&received.markers);
        for (leg, (listener, markers)) in legs.enumerate() {
            let uplink = &findings.sent.legs[leg];
            let (counts, interarrival, from_grid) = listener.finish(window.1);
            deviation.merge(&interarrival);
            grid_deviation.merge(&from_grid);
            heard.merge(markers);
            garbled += counts.markers_garbled;
            let downlink = LegDownlink::new(&counts, plan, window);
            self.legs_unheard += usize::from(downlink.packets == 0);
            self.uplink += *uplink;
            self.downlink.add(&downlink);
            self.per_leg.push(LegReport {
                leg,
                from: findings.from[leg],
                uplink: *uplink,
                downlink,
                deviation: interarrival.summary(),
                grid_deviation: from_grid.summary(),
                markers: has_markers.then(|| MarkerReport::new(markers, counts.markers_garbled)),
            });
        }
        self.deviation = deviation.summary();
        self.deviation_bars = deviation.bars();
        self.grid_deviation = grid_deviation.summary();
        self.markers = has_markers.then(|| MarkerReport::new(&heard, garbled));
    }
}

impl MarkerReport {
    fn new(markers: &Markers, garbled: u64) -> Self {
        let latency = markers.latency.summary();
        Self {
            heard: markers.heard,
            on_wrong_leg: markers.on_wrong_leg,
            garbled,
            latency,
            mouth_to_ear_ms_p99: latency.p99_us as f64 / 1e3 + f64::from(FRAME_MS),
        }
    }
}

impl LegDownlink {
    fn new(counts: &ListenerCounts, plan: &Plan, window: (Duration, Duration)) -> Self {
        let (missing_by_clock, doubled_by_clock) = counts.by_clock(window.0, window.1);
        let types = (0..).zip(counts.by_payload_type);
        let by_payload_type: std::collections::BTreeMap<u8, u64> = types
            .filter(|(_, packets)| *packets > 0)
            .map(|(number, packets)| (number, packets.into()))
            .collect();
        let is_wrong = |number: &u8| !plan.accepted.contains(number);
        let wrong = by_payload_type
            .iter()
            .filter(|(number, _)| is_wrong(number));
        let length = window.1.saturating_sub(window.0);
        let length_ms = length.as_millis() as u64;
        // A leg never heard has no packet to count from.
        let gap_max = counts.first_last.map_or(length, |_| counts.gap_max);
        Self {
            packets: counts.packets,
            frames: counts.in_window,
            frames_expected: length_ms / u64::from(FRAME_MS),
            frames_missing: missing_by_clock.max(counts.slots_missing),
            missing_by_timestamp: counts.slots_missing,
            missing_by_clock,
            frames_doubled: counts.sequence.duplicates
                + doubled_by_clock.max(counts.frames_doubled),
            doubled_by_timestamp: counts.frames_doubled,
            doubled_by_clock,
            lost: counts.sequence.lost,
            duplicates: counts.sequence.duplicates,
            reordered: counts.sequence.reordered,
            sequence_jumps: counts.sequence.jumps,
            timestamp_errors: counts.timestamp_errors,
            talkspurts: counts.talkspurts,
            ssrc_changes: counts.ssrc_changes,
            payload_type_errors: wrong.map(|(_, packets)| packets).sum(),
            by_payload_type,
            malformed: counts.malformed,
            from_strangers: counts.from_strangers,
            gaps: counts.gaps,
            gap_ms_max: seconds(gap_max) * 1e3,
        }
    }

    fn add(&mut self, leg: &Self) {
        self.packets += leg.packets;
        self.frames += leg.frames;
        self.frames_expected += leg.frames_expected;
        self.frames_missing += leg.frames_missing;
        self.missing_by_timestamp += leg.missing_by_timestamp;
        self.missing_by_clock += leg.missing_by_clock;
        self.frames_doubled += leg.frames_doubled;
        self.doubled_by_timestamp += leg.doubled_by_timestamp;
        self.doubled_by_clock += leg.doubled_by_clock;
        self.lost += leg.lost;
        self.duplicates += leg.duplicates;
        self.reordered += leg.reordered;
        self.sequence_jumps += leg.sequence_jumps;
        self.timestamp_errors += leg.timestamp_errors;
        self.talkspurts += leg.talkspurts;
        self.ssrc_changes += leg.ssrc_changes;
        self.payload_type_errors += leg.payload_type_errors;
        for (number, packets) in &leg.by_payload_type {
            *self.by_payload_type.entry(*number).or_default() += packets;
        }
        self.malformed += leg.malformed;
        self.from_strangers += leg.from_strangers;
        self.gaps += leg.gaps;
        self.gap_ms_max = self.gap_ms_max.max(leg.gap_ms_max);
    }
}

/// Why timing must not be judged by a run.
fn objections(machine: &MachineReport, pacing: &Summary) -> Vec<String> {
    let mut objections = Vec::new();
    if machine.steal_percent >= STEAL_PERCENT_MAX {
        objections.push(format!("steal was {:.1} %", machine.steal_percent));
    }
    if pacing.p99_9_us >= PACING_P99_9_US_MAX {
        objections.push(format!(
            "the load itself was {} µs late at p99.9",
            pacing.p99_9_us
        ));
    }
    if machine.dropped_here > 0 {
        objections.push(format!(
            "the load did not read {} packets in time",
            machine.dropped_here
        ));
    }
    if machine.clock_step_us >= micros(CLOCK_STEP_MAX) {
        objections.push(format!(
            "the time of day moved by {} µs",
            machine.clock_step_us
        ));
    }
    objections
}

fn cpu_report(pid: u32, times: &[Option<ProcessTimes>; 2], leg_frames: f64) -> CpuReport {
    let [Some(begin), Some(end)] = times else {
        return CpuReport {
            pid,
            cpu_s: None,
            us_per_leg_frame: None,
            threads: Vec::new(),
        };
    };
    let per_leg_frame = |time_s: f64| time_s * 1e6 / leg_frames.max(1.0);
    let cpu_s = seconds(time_of_ticks(end.ticks.saturating_sub(begin.ticks)));
    let thread = |(tid, stat): (&u32, &crate::process::Stat)| {
        let before = begin.threads.get(tid).map_or(0, |stat| stat.ticks);
        let cpu_s = seconds(time_of_ticks(stat.ticks.saturating_sub(before)));
        ThreadReport {
            name: stat.name.clone(),
            tid: *tid,
            cpu_s,
            us_per_leg_frame: per_leg_frame(cpu_s),
        }
    };
    let mut threads: Vec<_> = end.threads.iter().map(thread).collect();
    threads.sort_by(|a, b| b.cpu_s.total_cmp(&a.cpu_s));
    CpuReport {
        pid,
        cpu_s: Some(cpu_s),
        us_per_leg_frame: Some(per_leg_frame(cpu_s)),
        threads,
    }
}
