//! Limits a run must keep, each with the flag that sets it.

use super::report::LoadReport;

/// One thing that can be limited.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// `--fail-` and this is the flag.
    pub name: &'static str,
    /// What it is, with its unit.
    pub meaning: &'static str,
    /// Its value in a run; none when it was not measured.
    pub value: fn(&LoadReport) -> Option<f64>,
}

/// A limit that was set.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    /// On what.
    pub measure: &'static Measure,
    /// The largest value that is good.
    pub limit: f64,
}

/// Everything that can be limited.
pub const MEASURES: &[Measure] = &[
    Measure {
        name: "missing",
        meaning: "20 ms ticks without a frame",
        value: |report| Some(report.downlink.frames_missing as f64),
    },
    Measure {
        name: "doubled",
        meaning: "frames that came again, by sequence, timestamp or clock",
        value: |report| Some(report.downlink.frames_doubled as f64),
    },
    Measure {
        name: "loss",
        meaning: "sequence numbers that never came, % of all",
        value: |report| {
            let downlink = &report.downlink;
            let all = (downlink.packets + downlink.lost).max(1);
            Some(downlink.lost as f64 * 100.0 / all as f64)
        },
    },
    Measure {
        name: "duplicates",
        meaning: "packets that came twice",
        value: |report| Some(report.downlink.duplicates as f64),
    },
    Measure {
        name: "reordered",
        meaning: "packets that came after a newer one",
        value: |report| Some(report.downlink.reordered as f64),
    },
    Measure {
        name: "timestamp-errors",
        meaning: "timestamps that do not step with the sequence",
        value: |report| Some(report.downlink.timestamp_errors as f64),
    },
    Measure {
        name: "ssrc-changes",
        meaning: "changes of SSRC",
        value: |report| Some(report.downlink.ssrc_changes as f64),
    },
    Measure {
        name: "payload-types",
        meaning: "packets of a payload type that is not accepted",
        value: |report| Some(report.downlink.payload_type_errors as f64),
    },
    Measure {
        name: "unheard",
        meaning: "legs that heard nothing",
        value: |report| Some(report.legs_unheard as f64),
    },
    Measure {
        name: "gaps",
        meaning: "times of more than 30 ms without a packet",
        value: |report| Some(report.downlink.gaps as f64),
    },
    Measure {
        name: "gap-ms",
        meaning: "longest time without a packet, ms",
        value: |report| Some(report.downlink.gap_ms_max),
    },
    Measure {
        name: "p99-us",
        meaning: "p99 of the deviation between packets, µs",
        value: |report| Some(report.deviation.p99_us as f64),
    },
    Measure {
        name: "p999-us",
        meaning: "p99.9 of the deviation between packets, µs",
        value: |report| Some(report.deviation.p99_9_us as f64),
    },
    Measure {
        name: "grid-p999-us",
        meaning: "p99.9 of the deviation from the 20 ms grid, µs",
        value: |report| Some(report.grid_deviation.p99_9_us as f64),
    },
    Measure {
        name: "latency-p99-ms",
        meaning: "p99 of mouth to ear, ms",
        value: |report| {
            let markers = report.markers.filter(|markers| markers.heard > 0);
            markers.map(|markers| markers.mouth_to_ear_ms_p99)
        },
    },
    Measure {
        name: "wrong-voice",
        meaning: "markers heard on a wrong leg",
        value: |report| report.markers.map(|markers| markers.on_wrong_leg as f64),
    },
    Measure {
        name: "garbled",
        meaning: "markers that came in pieces",
        value: |report| report.markers.map(|markers| markers.garbled as f64),
    },
    Measure {
        name: "cpu-us",
        meaning: "CPU time of the processes watched, µs per leg-frame",
        value: |report| {
            let each = report.cpu.iter().map(|cpu| cpu.us_per_leg_frame);
            each.sum::<Option<f64>>().filter(|_| !report.cpu.is_empty())
        },
    },
    Measure {
        name: "pacing-p999-us",
        meaning: "p99.9 of the load's own lateness, µs",
        value: |report| Some(report.pacing.p99_9_us as f64),
    },
];

impl Threshold {
    /// The limit that `--fail-NAME LIMIT` sets; none when nothing is called so.
    pub fn new(name: &str, limit: f64) -> Option<Self> {
        let measure = MEASURES.iter().find(|measure| measure.name == name)?;
        Some(Self { measure, limit })
    }

    /// One line that says how the limit was broken; none when it was kept. What was not measured
    /// breaks every limit.
    pub fn violation(&self, report: &LoadReport) -> Option<String> {
        let Measure {
            name,
            meaning,
            value,
        } = self.measure;
        match value(report) {
            Some(value) if value <= self.limit => None,
            Some(value) => Some(format!(
                "--fail-{name}: {meaning}: {value} is above {}",
                self.limit
            )),
            None => Some(format!(
                "--fail-{name}: {meaning}: not measured in this run"
            )),
        }
    }
}
