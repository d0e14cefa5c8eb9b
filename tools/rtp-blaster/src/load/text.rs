//! The report as a person reads it.

use std::fmt::Write;

use super::report::{CpuReport, LegDownlink, LegReport, LoadReport, MarkerReport};
use super::spread::{Bar, Summary};

/// Characters of the longest bar.
const BAR_CHARACTERS: u64 = 50;
/// Legs shown, the worst first.
const LEGS_SHOWN: usize = 5;
/// Threads shown of each process.
const THREADS_SHOWN: usize = 12;

/// The whole report, a line per matter.
pub fn render(report: &LoadReport) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut text, report);
    text
}

fn write_report(text: &mut String, report: &LoadReport) -> std::fmt::Result {
    writeln!(
        text,
        "{} legs, {}, {:.1} s measured, seed {}",
        report.legs, report.codec, report.window_s, report.seed
    )?;
    write_sent(text, report)?;
    write_received(text, &report.downlink, report.legs_unheard)?;
    writeln!(
        text,
        "{:10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  µs",
        "", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    write_summary(text, "between", &report.deviation)?;
    write_summary(text, "on grid", &report.grid_deviation)?;
    write_summary(text, "own pace", &report.pacing)?;
    if let Some(markers) = &report.markers {
        write_summary(text, "latency", &markers.latency)?;
        write_markers(text, markers)?;
    }
    write_worst_legs(text, &report.per_leg)?;
    report.cpu.iter().try_for_each(|cpu| write_cpu(text, cpu))?;
    writeln!(
        text,
        "machine    {}, steal {:.2} %, idle {:.0} %, own drops {}, send errors {}",
        report.machine.scheduling,
        report.machine.steal_percent,
        report.machine.idle_percent,
        report.machine.dropped_here,
        report.machine.send_errors
    )?;
    writeln!(text, "deviation of the time between two packets:")?;
    write_bars(text, &report.deviation_bars)?;
    if report.acceptable {
        writeln!(text, "acceptable: true")
    } else {
        let reasons = report.not_acceptable_because.join("; ");
        writeln!(text, "acceptable: false, {reasons}")
    }
}

fn write_sent(text: &mut String, report: &LoadReport) -> std::fmt::Result {
    let (up, hostile) = (&report.uplink, &report.hostile);
    writeln!(
        text,
        "sent       {} packets of {} frames; lost on purpose {} + {} in bursts, doubled {}, held \
         back {}, late {}, mute {}, events {}",
        up.packets,
        up.frames,
        up.lost,
        up.lost_in_bursts,
        up.duplicated,
        up.held_back,
        up.delayed,
        up.muted,
        up.event_packets
    )?;
    if hostile.malformed + hostile.spoofed > 0 {
        writeln!(
            text,
            "hostile    {} malformed, {} spoofed",
            hostile.malformed, hostile.spoofed
        )?;
    }
    Ok(())
}

fn write_received(text: &mut String, down: &LegDownlink, silent: usize) -> std::fmt::Result {
    writeln!(
        text,
        "received   {} packets, {} frames of {} expected, payload types {:?}",
        down.packets, down.frames, down.frames_expected, down.by_payload_type
    )?;
    writeln!(
        text,
        "missing    {} (timestamps {}, clock {}); doubled {} (sequence {}, timestamps {}, clock \
         {}); silent legs {silent}",
        down.frames_missing,
        down.missing_by_timestamp,
        down.missing_by_clock,
        down.frames_doubled,
        down.duplicates,
        down.doubled_by_timestamp,
        down.doubled_by_clock
    )?;
    writeln!(
        text,
        "sequence   lost {}, duplicates {}, reordered {}, jumps {}; gaps {}, longest {:.1} ms",
        down.lost, down.duplicates, down.reordered, down.sequence_jumps, down.gaps, down.gap_ms_max
    )?;
    writeln!(
        text,
        "errors     timestamps {} (and {} talkspurts), SSRC changes {}, payload types {}, \
         malformed {}, strangers {}",
        down.timestamp_errors,
        down.talkspurts,
        down.ssrc_changes,
        down.payload_type_errors,
        down.malformed,
        down.from_strangers
    )
}

fn write_summary(text: &mut String, name: &str, summary: &Summary) -> std::fmt::Result {
    writeln!(
        text,
        "{name:10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        summary.count,
        summary.p50_us,
        summary.p90_us,
        summary.p99_us,
        summary.p99_9_us,
        summary.p99_99_us,
        summary.max_us
    )
}

fn write_markers(text: &mut String, markers: &MarkerReport) -> std::fmt::Result {
    writeln!(
        text,
        "markers    {} heard, {} on a wrong leg, {} garbled; mouth to ear p99 {:.1} ms",
        markers.heard, markers.on_wrong_leg, markers.garbled, markers.mouth_to_ear_ms_p99
    )
}

/// Legs with frames missing or doubled first, then by the deviation of their slowest packets.
fn write_worst_legs(text: &mut String, legs: &[LegReport]) -> std::fmt::Result {
    let mut worst: Vec<_> = legs.iter().collect();
    worst.sort_by_key(|leg| {
        let wrong = leg.downlink.frames_missing + leg.downlink.frames_doubled;
        std::cmp::Reverse((wrong, leg.deviation.p99_9_us))
    });
    writeln!(
        text,
        "worst legs {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  µs",
        "missing", "doubled", "lost", "p50", "p99.9", "max", "latency"
    )?;
    for leg in worst.into_iter().take(LEGS_SHOWN) {
        let markers = leg.markers.filter(|markers| markers.heard > 0);
        let latency = markers.map(|markers| markers.latency.p99_us.to_string());
        writeln!(
            text,
            "  leg {:<4} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            leg.leg,
            leg.downlink.frames_missing,
            leg.downlink.frames_doubled,
            leg.downlink.lost,
            leg.deviation.p50_us,
            leg.deviation.p99_9_us,
            leg.deviation.max_us,
            latency.as_deref().unwrap_or("-")
        )?;
    }
    Ok(())
}

fn write_cpu(text: &mut String, cpu: &CpuReport) -> std::fmt::Result {
    let (Some(cpu_s), Some(us)) = (cpu.cpu_s, cpu.us_per_leg_frame) else {
        return writeln!(
            text,
            "cpu        process {} ended before the window did",
            cpu.pid
        );
    };
    writeln!(
        text,
        "cpu        process {}: {cpu_s:.2} s, {us:.2} µs per leg-frame",
        cpu.pid
    )?;
    for thread in cpu.threads.iter().take(THREADS_SHOWN) {
        writeln!(
            text,
            "             {:16} {:>8.2} s {:>8.2} µs per leg-frame",
            thread.name, thread.cpu_s, thread.us_per_leg_frame
        )?;
    }
    Ok(())
}

fn write_bars(text: &mut String, bars: &[Bar]) -> std::fmt::Result {
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    for bar in bars {
        // Rounded up: one packet far out is what is looked for, so it is seen.
        let characters = (bar.count * BAR_CHARACTERS).div_ceil(most) as usize;
        writeln!(
            text,
            "  < {:>9} µs {:>10} {}",
            bar.below_us,
            bar.count,
            "#".repeat(characters)
        )?;
    }
    Ok(())
}
