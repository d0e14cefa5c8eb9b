//! The counters as lines of the log: what grew and is worth knowing while calls go on, and all of
//! them at the end.

use diglot_rt::stats::{RxCount, TxCount};

use super::Counts;
use crate::call::CallCount;
use crate::call::relock::RelockCount;
use crate::link::counts::LinkCount;
use crate::realtime::Degradation;

/// Counters that grow in calls that are well. Growth of any other is worth a line: something was
/// lost, refused, late or mended.
const RX_USUAL: &[RxCount] = &[
    RxCount::Datagram,
    RxCount::Frame,
    RxCount::ComfortNoise,
    RxCount::TelephoneEvent,
];
const TX_USUAL: &[TxCount] = &[
    TxCount::Tick,
    TxCount::Packet,
    TxCount::FrameSpeech,
    TxCount::FrameIdle,
];
const CALL_USUAL: &[CallCount] = &[
    CallCount::Arrived,
    CallCount::Adopted,
    CallCount::Ended,
    CallCount::RefusedShuttingDown,
    CallCount::Connected,
];

/// A counter's name and value.
type Value = (&'static str, u64);

/// Tells what has grown since it last told.
#[derive(Debug, Default)]
pub(super) struct Growth(Vec<Value>);

impl Growth {
    /// One line for all noteworthy counters that have grown; `None` if none has.
    pub(super) fn line(&mut self, counts: &Counts) -> Option<String> {
        let now: Vec<_> = noteworthy(counts).collect();
        let before = |name: &str| {
            self.0
                .iter()
                .find(|(n, _)| *n == name)
                .map_or(0, |(_, v)| *v)
        };
        let grown: Vec<_> = now
            .iter()
            .filter(|(name, value)| *value > before(name))
            .map(|(name, value)| format!("{name} {value} (+{})", value - before(name)))
            .collect();
        self.0 = now;
        (!grown.is_empty()).then(|| format!("counts: {}", grown.join(", ")))
    }
}

/// Every counter there is, a line for each kind.
pub(super) fn table(counts: &Counts) -> impl Iterator<Item = String> {
    kinds(counts).into_iter().map(|values| {
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        format!("in all: {}", values.join(", "))
    })
}

fn noteworthy(counts: &Counts) -> impl Iterator<Item = Value> {
    let usual: Vec<_> = (RX_USUAL.iter().map(|what| what.name()))
        .chain(TX_USUAL.iter().map(|what| what.name()))
        .chain(CALL_USUAL.iter().map(|what| what.name()))
        .collect();
    let all = kinds(counts).into_iter().flatten();
    all.filter(move |(name, _)| !usual.contains(name))
}

fn kinds(counts: &Counts) -> [Vec<Value>; 7] {
    [
        values(RxCount::ALL, RxCount::name, |what| counts.rx.value(what)),
        values(TxCount::ALL, TxCount::name, |what| match what {
            TxCount::TickLateMax => counts.tx.greatest(what),
            _ => counts.tx.value(what),
        }),
        values(LinkCount::ALL, LinkCount::name, |what| {
            counts.link.value(what)
        }),
        values(CallCount::ALL, CallCount::name, |what| {
            counts.call.value(what)
        }),
        values(RelockCount::ALL, RelockCount::name, |what| {
            counts.relock.value(what)
        }),
        values(Degradation::ALL, Degradation::name, |what| {
            counts.degradations.value(what)
        }),
        vec![
            ("rx_socket_drop_total", counts.rx_socket_drops.value()),
            ("log_event_lost_total", counts.events_lost.value()),
        ],
    ]
}

fn values<W: Copy>(
    all: &[W],
    name: impl Fn(W) -> &'static str,
    value: impl Fn(W) -> u64,
) -> Vec<Value> {
    all.iter().map(|what| (name(*what), value(*what))).collect()
}

#[cfg(test)]
mod tests {
    //! Goal: every repair and every lateness is told when it grows, once, and the table at the end
    //! leaves nothing out. Method: each counter is counted alone.

    use super::*;

    #[test]
    fn every_repair_drop_and_lateness_is_told_when_it_grows_and_once() {
        let mut counts = Counts::default();
        let (rx, tx) = (counts.rx.add_writer(), counts.tx.add_writer());
        let mut growth = Growth::default();
        let mut told = |name: &str| {
            let expected = Some(format!("counts: {name} 1 (+1)"));
            assert_eq!(growth.line(&counts), expected);
            assert_eq!(growth.line(&counts), None, "{name} is told once");
        };
        // What is usual in every call, and nothing to mend.
        let usual = [
            "rx_datagram_total",
            "rx_frame_total",
            "rx_comfort_noise_total",
        ];
        let usual = [&usual[..], &["rx_telephone_event_total"]].concat();
        for what in RxCount::ALL
            .iter()
            .filter(|what| !usual.contains(&what.name()))
        {
            rx.count(*what);
            told(what.name());
        }
        let usual = [
            "tx_tick_total",
            "tx_packet_total",
            "tx_frame_speech_total",
            "tx_frame_idle_total",
        ];
        for what in TxCount::ALL
            .iter()
            .filter(|what| !usual.contains(&what.name()))
        {
            tx.count(*what);
            told(what.name());
        }
        counts.rx_socket_drops.add(1);
        told("rx_socket_drop_total");
    }

    #[test]
    fn the_table_holds_every_counter_of_every_kind() {
        let mut counts = Counts::default();
        counts.tx.add_writer().add(TxCount::Packet, 5);
        let text: Vec<String> = table(&counts).collect();
        let text = text.join("\n");
        let names = RxCount::ALL.iter().map(|what| what.name());
        let names = names.chain(TxCount::ALL.iter().map(|what| what.name()));
        let names = names.chain(LinkCount::ALL.iter().map(|what| what.name()));
        let names = names.chain(CallCount::ALL.iter().map(|what| what.name()));
        let names = names.chain(RelockCount::ALL.iter().map(|what| what.name()));
        let names = names.chain(Degradation::ALL.iter().map(|what| what.name()));
        let alone = ["rx_socket_drop_total", "log_event_lost_total"];
        for name in names.chain(alone) {
            let value = if name == "tx_packet_total" { 5 } else { 0 };
            let entry = format!(" {name} {value}");
            let is_there = text.split([',', ':', '\n']).any(|part| part == entry);
            assert!(is_there, "{name} is not in\n{text}");
        }
    }
}
