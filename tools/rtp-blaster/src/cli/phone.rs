//! `rtp-blaster phone`: reads the command line, makes the call, writes recording and report.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt;
use rtp_blaster::codec::{DOWNLINK_SAMPLE_RATE, UplinkCodec};
use rtp_blaster::phone::{Phone, Script};
use rtp_blaster::playlist::Clip;
use rtp_blaster::wav;

use super::{Outcome, Problem, Stop, address, codec, duration, list, seconds};

const USAGE: &str = "\
Usage: rtp-blaster phone --to HOST:PORT [options]

Plays WAV files into a gateway's RTP port at real-time pace, as Asterisk's ExternalMedia would,
and records what comes back.

  --to HOST:PORT       the gateway's RTP address, numeric
  --bind HOST:PORT     our own address (127.0.0.1:0)
  --codec NAME         slin16, slin, pcmu, pcma or g722 (slin16)
  --play S:FILE        say a WAV file S seconds after the start; may be repeated
  --wav FILE           say a WAV file after the one before; may be repeated
  --wav-at S[,S...]    when the --wav files begin; the others follow after the gap
  --gap S              the pause between --wav files (1)
  --accept PT[,PT...]  payload types taken back, of 0, 8, 10 and 11 (all of them)
  --seconds N          longest duration of the call, at most 3600 (30)
  --until-quiet S      end when all is said and nothing was heard for S seconds
  --record FILE        WAV of what was heard, 8 kHz, from the call's first frame on
  --report FILE        where the JSON report goes (standard output)

WAV files are mono, 16 bits, at the codec's rate: 16000 Hz for slin16 and g722,
else 8000 Hz.
Exit status 0: the call took place. 1: it could not, or a file was not written. 2: wrong usage.
";

const GAP_S_DEFAULT: f64 = 1.0;
const LENGTH_S_DEFAULT: f64 = 30.0;
const ACCEPTED_DEFAULT: [u8; 4] = [0, 8, 10, 11];

/// Runs the mode.
pub(crate) fn run(parser: lexopt::Parser) -> Result<Outcome, Stop> {
    let Some(options) = parse(parser).map_err(Stop::Usage)? else {
        return Ok(Outcome::Help(USAGE));
    };
    let clips = options.clips().map_err(Stop::Usage)?;
    call(&options, clips).map_err(Stop::Failed)?;
    Ok(Outcome::Done)
}

fn call(options: &Options, clips: Vec<Clip>) -> Result<(), Problem> {
    let call = Phone::call(Script {
        to: options.to,
        bind: options.bind,
        codec: options.codec,
        clips,
        accepted: options.accepted.clone(),
        length: options.length,
        until_quiet: options.until_quiet,
    })?
    .wait();
    if let Some(path) = &options.record {
        wav::write(path, DOWNLINK_SAMPLE_RATE, &call.heard)?;
    }
    let report = serde_json::to_string_pretty(&call.report)?;
    match &options.report {
        Some(path) => std::fs::write(path, report + "\n")
            .map_err(|error| format!("{}: {error}", path.display()))?,
        None => println!("{report}"),
    }
    Ok(())
}

/// The command line, checked as far as it can be without reading files.
struct Options {
    to: SocketAddr,
    bind: SocketAddr,
    codec: UplinkCodec,
    timed: Vec<(f64, PathBuf)>,
    queued: Vec<PathBuf>,
    queued_at: Vec<f64>,
    gap_s: f64,
    accepted: Vec<u8>,
    length: Duration,
    until_quiet: Option<Duration>,
    record: Option<PathBuf>,
    report: Option<PathBuf>,
}

impl Options {
    /// Reads the WAV files and says when each one begins.
    fn clips(&self) -> Result<Vec<Clip>, Problem> {
        let mut clips = Vec::new();
        for (start_s, file) in &self.timed {
            clips.push(self.clip(*start_s, file)?);
        }
        let mut next_s = 0.0;
        for (index, file) in self.queued.iter().enumerate() {
            let start_s = self.queued_at.get(index).copied().unwrap_or(next_s);
            let clip = self.clip(start_s, file)?;
            let clip_s = clip.samples.len() as f64 / f64::from(self.codec.sample_rate());
            next_s = start_s + clip_s + self.gap_s;
            clips.push(clip);
        }
        Ok(clips)
    }

    fn clip(&self, start_s: f64, file: &Path) -> Result<Clip, Problem> {
        let samples = wav::read(file, self.codec.sample_rate())?;
        Ok(Clip {
            file: file.to_owned(),
            start_ms: (start_s * 1000.0).round() as u32,
            samples,
        })
    }
}

/// None when help was asked for.
fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, Problem> {
    let mut to = None;
    let mut options = Options {
        to: SocketAddr::from(([127, 0, 0, 1], 0)),
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        codec: UplinkCodec::Slin16,
        timed: Vec::new(),
        queued: Vec::new(),
        queued_at: Vec::new(),
        gap_s: GAP_S_DEFAULT,
        accepted: ACCEPTED_DEFAULT.to_vec(),
        length: Duration::from_secs_f64(LENGTH_S_DEFAULT),
        until_quiet: None,
        record: None,
        report: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(None),
            Long("to") => to = Some(address(&parser.value()?.string()?)?),
            Long("bind") => options.bind = address(&parser.value()?.string()?)?,
            Long("codec") => options.codec = codec(&parser.value()?.string()?)?,
            Long("play") => options.timed.push(timed(&parser.value()?.string()?)?),
            Long("wav") => options.queued.push(parser.value()?.into()),
            Long("wav-at") => options.queued_at = list(&parser.value()?.string()?, seconds)?,
            Long("gap") => options.gap_s = seconds(&parser.value()?.string()?)?,
            Long("accept") => options.accepted = list(&parser.value()?.string()?, accepted)?,
            Long("seconds") => options.length = duration(&parser.value()?.string()?)?,
            Long("until-quiet") => {
                options.until_quiet = Some(duration(&parser.value()?.string()?)?);
            }
            Long("record") => options.record = Some(parser.value()?.into()),
            Long("report") => options.report = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    options.to = to.ok_or("--to is missing: the gateway's RTP address, such as 127.0.0.1:5000")?;
    Ok(Some(options))
}

fn timed(text: &str) -> Result<(f64, PathBuf), Problem> {
    let (start, file) = text
        .split_once(':')
        .ok_or_else(|| format!("{text}: want SECONDS:FILE"))?;
    Ok((seconds(start)?, file.into()))
}

fn accepted(text: &str) -> Result<u8, Problem> {
    let number = text
        .parse()
        .ok()
        .filter(|number| ACCEPTED_DEFAULT.contains(number));
    number.ok_or_else(|| format!("{text}: payload types 0, 8, 10 and 11 can be played").into())
}
