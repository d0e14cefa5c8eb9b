//! The JSON of ARI, as far as we read it: unknown events and fields are ignored, everything we
//! read may be missing. What it cannot make sense of is an error that names the reason.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::call::ari::{AriEvent, Channel, SeenChannel, Snapshot};

/// What one event message says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// Something about a call.
    Event(AriEvent),
    /// Nothing we act on.
    Ignored,
    /// Another WebSocket took over our application.
    Replaced,
}

/// Why a message makes no sense.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelError {
    /// Not JSON, or a field has the wrong type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field that this event cannot do without.
    #[error("no {0}")]
    Missing(&'static str),
}

/// Reads one event message.
pub(super) fn parse_event(text: &str) -> Result<Message, ModelError> {
    let raw: RawEvent = serde_json::from_str(text)?;
    let channel = || raw.channel.as_ref().ok_or(ModelError::Missing("channel"));
    let event = match raw.kind.as_str() {
        "ApplicationReplaced" => return Ok(Message::Replaced),
        "BridgeDestroyed" => {
            let bridge = raw.bridge.as_ref().ok_or(ModelError::Missing("bridge"))?;
            AriEvent::BridgeDestroyed {
                bridge: bridge.id.clone(),
            }
        }
        "ChannelDtmfReceived" => AriEvent::Dtmf {
            channel: channel()?.id.clone(),
            digit: raw.digit.clone().unwrap_or_default(),
            duration_ms: raw.duration_ms.unwrap_or_default(),
        },
        "ChannelDestroyed" | "ChannelHangupRequest" | "StasisEnd" => AriEvent::Gone {
            channel: channel()?.id.clone(),
        },
        "ChannelHold" => AriEvent::Hold {
            channel: channel()?.id.clone(),
        },
        "ChannelUnhold" => AriEvent::Unhold {
            channel: channel()?.id.clone(),
        },
        "StasisStart" => {
            AriEvent::StasisStart(channel()?.with_extension(raw.args.first().cloned()))
        }
        _ => return Ok(Message::Ignored),
    };
    Ok(Message::Event(event))
}

/// Reads the reply to `POST /channels/externalMedia`: Asterisk's end of the media.
pub(super) fn parse_media(text: &str) -> Result<SocketAddr, ModelError> {
    let raw: RawMedia = serde_json::from_str(text)?;
    let address: IpAddr = parse_variable(raw.channelvars.address, "UNICASTRTP_LOCAL_ADDRESS")?;
    let port = parse_variable(raw.channelvars.port, "UNICASTRTP_LOCAL_PORT")?;
    Ok(SocketAddr::new(address, port))
}

/// Reads the replies to `GET /channels`, `/bridges` and `/applications/{app}`.
pub(super) fn parse_snapshot(
    app: &str,
    channels: &str,
    bridges: &str,
    application: &str,
) -> Result<Snapshot, ModelError> {
    let channels: Vec<RawChannel> = serde_json::from_str(channels)?;
    let bridges: Vec<RawBridge> = serde_json::from_str(bridges)?;
    let application: RawApplication = serde_json::from_str(application)?;
    let subscribed: HashSet<String> = application.channel_ids.into_iter().collect();
    let channels = channels.iter().map(|raw| {
        let mut arguments = raw.stasis_arguments();
        let is_in_stasis = arguments.next() == Some(app);
        SeenChannel {
            in_app: is_in_stasis || subscribed.contains(&raw.id),
            channel: raw.with_extension(arguments.next().map(str::to_owned)),
        }
    });
    let channels = channels.collect();
    Ok(Snapshot {
        channels,
        bridges: bridges.into_iter().map(|bridge| bridge.id).collect(),
    })
}

fn parse_variable<T: std::str::FromStr>(
    value: Option<String>,
    name: &'static str,
) -> Result<T, ModelError> {
    value
        .and_then(|value| value.parse().ok())
        .ok_or(ModelError::Missing(name))
}

#[derive(Deserialize)]
struct RawEvent {
    #[serde(rename = "type")]
    kind: String,
    channel: Option<RawChannel>,
    bridge: Option<RawBridge>,
    #[serde(default)]
    args: Vec<String>,
    digit: Option<String>,
    duration_ms: Option<u64>,
}

#[derive(Deserialize)]
struct RawChannel {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    caller: RawCaller,
    #[serde(default)]
    dialplan: RawDialplan,
}

#[derive(Default, Deserialize)]
struct RawCaller {
    #[serde(default)]
    number: String,
}

#[derive(Default, Deserialize)]
struct RawDialplan {
    #[serde(default)]
    app_name: String,
    #[serde(default)]
    app_data: String,
}

#[derive(Deserialize)]
struct RawBridge {
    id: String,
}

#[derive(Deserialize)]
struct RawApplication {
    #[serde(default)]
    channel_ids: Vec<String>,
}

#[derive(Deserialize)]
struct RawMedia {
    #[serde(default)]
    channelvars: RawMediaVariables,
}

#[derive(Default, Deserialize)]
struct RawMediaVariables {
    #[serde(rename = "UNICASTRTP_LOCAL_ADDRESS")]
    address: Option<String>,
    #[serde(rename = "UNICASTRTP_LOCAL_PORT")]
    port: Option<String>,
}

impl RawChannel {
    fn with_extension(&self, extension: Option<String>) -> Channel {
        Channel {
            id: self.id.clone(),
            name: self.name.clone(),
            caller: self.caller.number.clone(),
            extension,
        }
    }

    /// What stands in `Stasis(app,argument…)` if the channel is there now.
    fn stasis_arguments(&self) -> impl Iterator<Item = &str> {
        let is_stasis = self.dialplan.app_name == "Stasis";
        let data = is_stasis.then_some(self.dialplan.app_data.as_str());
        data.into_iter().flat_map(|data| data.split(','))
    }
}
