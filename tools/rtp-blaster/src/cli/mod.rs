//! The command line: one file per mode, and what their options have in common.

pub(crate) mod load;
pub(crate) mod phone;
pub(crate) mod relay;

use std::net::SocketAddr;
use std::time::Duration;

use rtp_blaster::codec::UplinkCodec;

/// What can be said about a failure.
pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;

/// How a mode ended when it did what it was asked for.
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// Its usage is to be shown.
    Help(&'static str),
    /// It ran, and broke limits that were set; they have been named.
    Violated,
}

/// Why a mode did not do what it was asked for.
pub(crate) enum Stop {
    /// It could not.
    Failed(Problem),
    /// It was asked for something impossible.
    Usage(Problem),
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, Problem> {
    let address = text.parse().ok();
    address.ok_or_else(|| format!("{text}: want a numeric address and port, 127.0.0.1:5000").into())
}

pub(crate) fn codec(name: &str) -> Result<UplinkCodec, Problem> {
    UplinkCodec::from_name(name)
        .ok_or_else(|| format!("unknown codec {name}: slin16, slin, pcmu, pcma or g722").into())
}

pub(crate) fn list<T>(text: &str, item: fn(&str) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    text.split(',').map(item).collect()
}

/// A number in a range; `what` says which.
pub(crate) fn number(text: &str, min: f64, max: f64, what: &str) -> Result<f64, Problem> {
    let value = text.parse::<f64>().ok();
    let value = value.filter(|value| (min..=max).contains(value));
    value.ok_or_else(|| format!("{text}: want {what} from {min} to {max}").into())
}

/// A time within the longest call, in seconds.
pub(crate) fn seconds(text: &str) -> Result<f64, Problem> {
    let limit_s = rtp_blaster::phone::CALL_LENGTH_MAX.as_secs_f64();
    number(text, 0.0, limit_s, "seconds")
}

pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    Ok(Duration::from_secs_f64(seconds(text)?))
}
