//! How a call ends: its leg stops at once, its channels and bridge are deleted, its place is freed.

use diglot_rt::msg::LegId;
use diglot_rt::units::Micros;

use super::{Calls, Transport};
use crate::call::ari_leg::Caller;
use crate::call::{CallCount, CallEvent, Change, EndReason, Output};

impl Calls {
    /// Ends every leg.
    pub(super) fn end_all(&mut self, now: Micros, reason: EndReason, caller: Caller) {
        let all: Vec<LegId> = self.legs.iter().map(|leg| leg.id).collect();
        for id in all {
            self.end(now, id, reason, caller);
        }
    }

    /// Ends a leg: its audio at once, its channels one after the other.
    pub(super) fn end(&mut self, now: Micros, id: LegId, reason: EndReason, caller: Caller) {
        let Some(leg) = self.legs.find(id) else {
            return;
        };
        let is_ari = matches!(leg.transport, Transport::Ari(_));
        if caller == Caller::Gone && is_ari {
            // The same channel may come back into our application: as a new call.
            let caller = leg.call_id.clone();
            self.disown(&caller, id);
            self.settle(&caller);
        }
        self.conclude(id, reason);
        if is_ari {
            self.drive(now, id, |ari| ari.end(now, caller));
        } else {
            self.forget(id);
        }
    }

    /// Stops the leg's audio and seats its partner anew; the first reason counts.
    pub(super) fn conclude(&mut self, id: LegId, reason: EndReason) {
        let Some(leg) = self.legs.find_mut(id) else {
            return;
        };
        if leg.ended.is_some() {
            return;
        }
        leg.ended = Some(reason);
        let started = leg.lock.is_some();
        let left = self.rooms.leave(id);
        if let Some(partner) = left.partner
            && self.have_started([partner, id])
        {
            self.change(Change::Unpair {
                legs: [partner, id],
            });
        }
        if started {
            self.change(Change::EndLeg { leg: id, reason });
        }
        if let (Some(partner), Some(successor)) = (left.partner, left.successor) {
            self.pair_if_started([partner, successor]);
        }
    }

    pub(super) fn forget(&mut self, id: LegId) {
        let Some(leg) = self.legs.remove(id) else {
            return;
        };
        match leg.transport {
            Transport::Ari(ari) => {
                self.settle(ari.caller());
                for name in [ari.caller(), &ari.ids().media, &ari.ids().bridge] {
                    self.disown(name, id);
                }
            }
            Transport::Rtp { port, source } => {
                self.sources.remove(&(port, source));
            }
        }
        self.counts.count(CallCount::Ended);
        let reason = leg.ended.unwrap_or(EndReason::Vanished);
        self.outputs.push_back(Output::Event(CallEvent::Ended {
            call_id: leg.call_id,
            reason,
        }));
    }

    pub(super) fn settle(&mut self, caller: &str) {
        if self.resync.is_asked() {
            self.settled.insert(caller.to_owned());
        }
    }
}
