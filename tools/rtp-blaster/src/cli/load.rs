//! `rtp-blaster load`: reads the command line, runs the load, writes the reports, checks limits.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;
use rtp_blaster::load::impairment::{BurstLoss, Jitter, JitterShape};
use rtp_blaster::load::plan::{Cycle, Hears, Plan, Voice};
use rtp_blaster::load::report::LoadReport;
use rtp_blaster::load::threshold::Threshold;
use rtp_blaster::load::{self, Progress, text};
use rtp_blaster::{svg, wav};

use super::{Outcome, Problem, Stop, address, codec, duration, list, number};

const USAGE: &str = include_str!("load_usage.txt");
/// `--fail-` begins every limit.
const FAIL_PREFIX: &str = "fail-";
const LEGS_DEFAULT: usize = 2;
const PERCENT: f64 = 100.0;
const MS_PER_S: f64 = 1_000.0;

/// The command line, checked as far as it can be without reading files.
struct Options {
    plan: Plan,
    hears: Option<Hears>,
    wav: Option<PathBuf>,
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    thresholds: Vec<Threshold>,
    must_be_acceptable: bool,
}

/// Runs the mode.
pub(crate) fn run(parser: lexopt::Parser) -> Result<Outcome, Stop> {
    let Some(mut options) = parse(parser).map_err(Stop::Usage)? else {
        return Ok(Outcome::Help(USAGE));
    };
    if let Some(path) = &options.wav {
        let samples = wav::read(path, options.plan.codec.sample_rate());
        options.plan.voice = Voice::Wav(samples.map_err(|error| Stop::Usage(error.into()))?);
    }
    let checked = options.plan.check();
    checked.map_err(|problem| Stop::Usage(problem.into()))?;
    let report = blast(&options).map_err(Stop::Failed)?;
    let mut violations: Vec<_> = options
        .thresholds
        .iter()
        .filter_map(|threshold| threshold.violation(&report))
        .collect();
    if options.must_be_acceptable && !report.acceptable {
        let reasons = report.not_acceptable_because.join("; ");
        violations.push(format!("--fail-unacceptable: {reasons}"));
    }
    for violation in &violations {
        eprintln!("rtp-blaster: {violation}");
    }
    Ok(if violations.is_empty() {
        Outcome::Done
    } else {
        Outcome::Violated
    })
}

fn blast(options: &Options) -> Result<LoadReport, Problem> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let is_shown = std::io::stderr().is_terminal();
    let report = load::run(&options.plan, stop, |progress| {
        if is_shown {
            show(progress);
        }
    })?;
    if is_shown {
        eprintln!();
    }
    print!("{}", text::render(&report));
    if let Some(path) = &options.json {
        let json = serde_json::to_string_pretty(&report)? + "\n";
        std::fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &options.svg {
        let title = format!(
            "Deviation of the time between packets: {} legs, {}, {:.0} s",
            report.legs, report.codec, report.window_s
        );
        let picture = svg::histogram(&title, &report.deviation_bars, &report.deviation);
        std::fs::write(path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(report)
}

fn show(progress: Progress) {
    let mut stderr = std::io::stderr().lock();
    // A progress line nobody can read is no reason to stop.
    let _ = write!(
        stderr,
        "\r{:>5.0} of {:.0} s, {} sent, {} received ",
        progress.elapsed.as_secs_f64(),
        progress.total.as_secs_f64(),
        progress.sent,
        progress.received
    );
}

/// None when help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, Problem> {
    let mut options = Options {
        plan: Plan::new(Vec::new(), LEGS_DEFAULT),
        hears: None,
        wav: None,
        json: None,
        svg: None,
        thresholds: Vec::new(),
        must_be_acceptable: false,
    };
    while let Some(argument) = parser.next()? {
        let name = match argument {
            Long("help") | Short('h') => return Ok(None),
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected().into()),
        };
        if name == "fail-unacceptable" {
            options.must_be_acceptable = true;
            continue;
        }
        if name == "tone" {
            options.plan.voice = Voice::Tone;
            continue;
        }
        let value = parser.value()?;
        if let Some(file) = match name.as_str() {
            "wav" => Some(&mut options.wav),
            "json" => Some(&mut options.json),
            "svg" => Some(&mut options.svg),
            _ => None,
        } {
            *file = Some(value.into());
            continue;
        }
        let value = value.string()?;
        match name.strip_prefix(FAIL_PREFIX) {
            Some(measure) => options.thresholds.push(threshold(measure, &value)?),
            None => set(&mut options, &name, &value)?,
        }
    }
    if options.plan.to.is_empty() {
        return Err("--to is missing: the gateway's RTP address, such as 127.0.0.1:5000".into());
    }
    let to = std::mem::take(&mut options.plan.to);
    options.plan.hears = options
        .hears
        .unwrap_or_else(|| Plan::new(to.clone(), LEGS_DEFAULT).hears);
    options.plan.to = to;
    Ok(Some(options))
}

fn threshold(measure: &str, limit: &str) -> Result<Threshold, Problem> {
    let limit = number(limit, 0.0, f64::MAX, "a limit")?;
    Threshold::new(measure, limit)
        .ok_or_else(|| format!("--fail-{measure}: no such limit (--help tells them)").into())
}

/// Sets what one option with a value asks for.
fn set(options: &mut Options, name: &str, value: &str) -> Result<(), Problem> {
    let plan = &mut options.plan;
    match name {
        "to" => plan.to.push(address(value)?),
        "bind" => {
            let address = value.parse();
            plan.bind = address.map_err(|_| format!("{value}: want a numeric address"))?;
        }
        "from-port" => {
            let port = value.parse();
            plan.from_port = Some(port.map_err(|_| format!("{value}: want a port"))?);
        }
        "legs" => plan.legs = count(value)? as usize,
        "codec" => plan.codec = codec(value)?,
        "markers" => plan.voice = Voice::Markers(duration(value)?),
        "hears" => options.hears = Some(hears(value)?),
        "accept" => plan.accepted = list(value, payload_type)?,
        "ramp" => plan.ramp = duration(value)?,
        "warm-up" => plan.warm_up = duration(value)?,
        "seconds" => plan.window = duration(value)?,
        "seed" => plan.seed = count(value)?,
        "cpu-of" => plan.cpu_of.push(count(value)? as u32),
        "loss" => plan.impairment.loss = percent(value)?,
        "burst-loss" => plan.impairment.burst_loss = Some(burst_loss(value)?),
        "reorder" => plan.impairment.reorder = percent(value)?,
        "duplicate" => plan.impairment.duplicate = percent(value)?,
        "jitter" => plan.impairment.jitter = Some(jitter(value)?),
        "skew-ppm" => plan.skew_ppm = number(value, 0.0, f64::MAX, "ppm")?,
        "pause" => plan.pause = Some(cycle(value)?),
        "telephone-event" => plan.telephone_event_every = Some(duration(value)?),
        "malformed" => plan.malformed_per_s = count(value)? as u32,
        "spoofed" => plan.spoofed_per_s = count(value)? as u32,
        _ => return Err(format!("--{name}: no such option (--help tells them)").into()),
    }
    Ok(())
}

fn count(text: &str) -> Result<u64, Problem> {
    let number = text.parse::<u32>().ok();
    number
        .map(u64::from)
        .ok_or_else(|| format!("{text}: want a whole number").into())
}

fn payload_type(text: &str) -> Result<u8, Problem> {
    let number = text.parse().ok().filter(|number| *number < 128);
    number.ok_or_else(|| format!("{text}: want payload types from 0 to 127").into())
}

fn percent(text: &str) -> Result<f64, Problem> {
    Ok(number(text, 0.0, PERCENT, "percent")? / PERCENT)
}

fn hears(text: &str) -> Result<Hears, Problem> {
    match text {
        "anyone" => Ok(Hears::Anyone),
        "partner" => Ok(Hears::Partner),
        "self" => Ok(Hears::Self_),
        _ => Err(format!("--hears {text}: want partner, self or anyone").into()),
    }
}

/// `MEAN:PACKETS` or `MEAN:PACKETS:IN_BURST`.
fn burst_loss(text: &str) -> Result<BurstLoss, Problem> {
    let parts: Vec<_> = text.split(':').collect();
    let (mean, packets, bad) = match parts[..] {
        [mean, packets] => (mean, packets, "100"),
        [mean, packets, bad] => (mean, packets, bad),
        _ => return Err(format!("{text}: want PERCENT:PACKETS[:PERCENT]").into()),
    };
    Ok(BurstLoss {
        mean_loss: percent(mean)?,
        burst_packets: number(packets, 1.0, f64::MAX, "packets")?,
        bad_loss: percent(bad)?,
    })
}

/// `MS` or `MS:SHAPE`.
fn jitter(text: &str) -> Result<Jitter, Problem> {
    let (scale, shape) = text.split_once(':').unwrap_or((text, "uniform"));
    let shape = match shape {
        "exponential" => JitterShape::Exponential,
        "half-normal" => JitterShape::HalfNormal,
        "uniform" => JitterShape::Uniform,
        _ => return Err(format!("{shape}: want uniform, exponential or half-normal").into()),
    };
    let scale_ms = number(scale, 0.0, MS_PER_S, "milliseconds")?;
    Ok(Jitter {
        shape,
        scale: Duration::from_secs_f64(scale_ms / MS_PER_S),
    })
}

/// `EVERY:LENGTH`, in seconds.
fn cycle(text: &str) -> Result<Cycle, Problem> {
    let (every, length) = text
        .split_once(':')
        .ok_or_else(|| format!("{text}: want EVERY:LENGTH in seconds"))?;
    let cycle = Cycle {
        every: duration(every)?,
        length: duration(length)?,
    };
    if cycle.length.is_zero() || cycle.length >= cycle.every {
        return Err(
            format!("{text}: a pause is shorter than the time from one to the next").into(),
        );
    }
    Ok(cycle)
}
