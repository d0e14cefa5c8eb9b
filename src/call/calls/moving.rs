//! How a leg re-locks to another source port, by the rules of [`relock`](crate::call::relock).

use std::net::SocketAddr;

use diglot_rt::msg::{LegId, PortIndex};
use diglot_rt::units::Micros;

use super::{Calls, Leg, Lock, Transport};
use crate::call::relock::RELOCK_PAUSE_MS;
use crate::call::{CallCount, CallEvent, Change, Output};

impl Calls {
    /// A leg's stream seems to go on from `source`: judges what only we know (rules 1, 6, 7, 8).
    pub(super) fn on_moved(&mut self, now: Micros, id: LegId, port: PortIndex, source: SocketAddr) {
        let Some(leg) = self.legs.find(id) else {
            return;
        };
        let (Some(lock), None, Transport::Ari(_)) = (leg.lock, leg.ended, &leg.transport) else {
            return;
        };
        let is_source = |address| is_same(address, source);
        if is_source(lock.remote) {
            // Told twice, and done the first time.
            return;
        }
        let is_same_host = source.ip().to_canonical() == lock.remote.ip().to_canonical();
        // A place that its leg has left is still that leg's: it may have to go back.
        let is_owned = self
            .locks(leg.extension)
            .any(|(other, lock)| is_source(lock.remote) || (other != id && is_source(lock.told)));
        let refusal = if !is_same_host || usize::from(port.0) != leg.extension {
            Some(CallCount::RelockRefusedAddress)
        } else if is_owned {
            Some(CallCount::RelockRefusedOwned)
        } else if now < lock.since.plus_ms(RELOCK_PAUSE_MS) {
            Some(CallCount::RelockRefusedPause)
        } else {
            None
        };
        match refusal {
            Some(reason) => self.counts.count(reason),
            None => self.relock(now, id, source),
        }
    }

    /// Asterisk gives `remote` to leg `id`: whoever re-locked to it goes back to its own.
    pub(super) fn give_back(&mut self, now: Micros, id: LegId, remote: SocketAddr) {
        let Some(extension) = self.legs.find(id).map(|leg| leg.extension) else {
            return;
        };
        let squatter = self
            .locks(extension)
            .find(|(_, lock)| is_same(lock.remote, remote) && !is_same(lock.told, remote));
        if let Some((squatter, lock)) = squatter {
            self.relock(now, squatter, lock.told);
        }
    }

    fn relock(&mut self, now: Micros, id: LegId, remote: SocketAddr) {
        let Some(Leg {
            lock: Some(lock),
            call_id,
            ..
        }) = self.legs.find_mut(id)
        else {
            return;
        };
        *lock = Lock {
            remote,
            since: now,
            ..*lock
        };
        let call_id = call_id.clone();
        self.counts.count(CallCount::Relocked);
        self.change(Change::MoveLeg { leg: id, remote });
        self.outputs
            .push_back(Output::Event(CallEvent::Moved { call_id, remote }));
    }

    /// Where the legs of an extension hear.
    fn locks(&self, extension: usize) -> impl Iterator<Item = (LegId, Lock)> {
        let live = move |leg: &&Leg| leg.extension == extension && leg.ended.is_none();
        self.legs
            .iter()
            .filter(live)
            .filter_map(|leg| Some((leg.id, leg.lock?)))
    }
}

/// Whether both are one place: an IPv4 address is the same whether a socket of IPv4 or of IPv6
/// tells it.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let place = |address: SocketAddr| (address.ip().to_canonical(), address.port());
    place(one) == place(other)
}
