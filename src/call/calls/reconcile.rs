//! What a list of Asterisk's channels and bridges means: calls that are gone end, callers we did
//! not know are adopted, and what is ours by name but of no call is deleted.

use std::collections::HashSet;

use diglot_rt::units::Micros;

use super::{Calls, Found, Leg, Transport};
use crate::call::EndReason;
use crate::call::ari::{HangupCause, Request, Snapshot};
use crate::call::ari_leg::Caller;

impl Calls {
    /// Compares a list with what we believe. Only what was so before the list was asked for is
    /// judged by it: events may have overtaken it.
    pub(super) fn reconcile(&mut self, now: Micros, asked_at: Micros, snapshot: Snapshot) {
        let seen = snapshot.channels.iter().filter(|seen| seen.in_app);
        let in_app: HashSet<&str> = seen.map(|seen| seen.channel.id.as_str()).collect();
        let bridges: HashSet<&str> = snapshot.bridges.iter().map(String::as_str).collect();
        let verdicts: Vec<_> = self
            .legs
            .iter()
            .filter(|leg| leg.arrived_at < asked_at)
            .filter_map(|leg| Some((leg.id, verdict(leg, asked_at, &in_app, &bridges)?)))
            .collect();
        for (id, verdict) in verdicts {
            match verdict {
                Verdict::End(reason, caller) => self.end(now, id, reason, caller),
                Verdict::MediaEntered => self.drive(now, id, |ari| ari.on_media_entered(now)),
            }
        }
        for bridge in snapshot.bridges {
            if self.ids.is_ours(&bridge) && self.owner(&bridge).is_none() {
                self.note_leftover(&bridge);
                self.ask(Request::DeleteBridge { bridge });
            }
        }
        for seen in snapshot.channels {
            if !self.ids.is_ours(&seen.channel.id) {
                if seen.in_app && !self.settled.contains(&seen.channel.id) {
                    self.on_caller(now, seen.channel, Found::InList);
                }
            } else if self.owner(&seen.channel.id).is_none() {
                self.delete_leftover_channel(&seen.channel.id);
            }
        }
    }
}

/// What a list says about one leg.
enum Verdict {
    End(EndReason, Caller),
    MediaEntered,
}

fn verdict(
    leg: &Leg,
    asked_at: Micros,
    in_app: &HashSet<&str>,
    bridges: &HashSet<&str>,
) -> Option<Verdict> {
    let Transport::Ari(ari) = &leg.transport else {
        return None;
    };
    let has_media = in_app.contains(ari.ids().media.as_str());
    if !in_app.contains(ari.caller()) {
        return Some(Verdict::End(EndReason::Vanished, Caller::Gone));
    }
    if ari.is_ending() {
        return None;
    }
    if !ari.is_up() {
        return has_media.then_some(Verdict::MediaEntered);
    }
    if leg.up_at.is_none_or(|up_at| up_at >= asked_at) {
        return None;
    }
    let caller = Caller::There(HangupCause::Congestion);
    if !has_media {
        Some(Verdict::End(EndReason::MediaLost, caller))
    } else if !bridges.contains(ari.ids().bridge.as_str()) {
        Some(Verdict::End(EndReason::BridgeLost, caller))
    } else {
        None
    }
}
