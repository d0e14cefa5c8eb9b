//! Who is interpreted with whom: first come, first served, between an extension and its partner.
//!
//! A leg takes its place when it arrives, not when its set-up is done, so that the order of the
//! calls decides and not the speed of their set-ups. A leg whose partner left waits again, in the
//! place of its own arrival.

use std::collections::{BTreeMap, HashMap};

use diglot_rt::msg::LegId;

/// Every leg, in a pair or waiting.
#[derive(Debug)]
pub(super) struct Rooms {
    /// By extension: its partner, if each names the other.
    partner_of: Vec<Option<usize>>,
    /// By extension: who waits, by arrival. Of an extension and its partner, one queue is empty
    /// (of an extension that is its own partner, at most one leg waits).
    waiting: Vec<BTreeMap<u64, LegId>>,
    members: HashMap<LegId, Member>,
    arrivals: u64,
}

#[derive(Debug)]
struct Member {
    extension: usize,
    arrival: u64,
    partner: Option<LegId>,
}

/// What a leg leaves behind.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Left {
    /// Who was with it.
    pub(super) partner: Option<LegId>,
    /// Who takes its place with that partner.
    pub(super) successor: Option<LegId>,
}

impl Rooms {
    /// `numbers[n]` is the number of extension `n` and the number of its partner.
    pub(super) fn new<'a>(numbers: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let numbers: Vec<_> = numbers.collect();
        let partner_of: Vec<_> = numbers
            .iter()
            .map(|&(number, partner)| numbers.iter().position(|&other| other == (partner, number)))
            .collect();
        let waiting = numbers.iter().map(|_| BTreeMap::new()).collect();
        Self {
            partner_of,
            waiting,
            members: HashMap::new(),
            arrivals: 0,
        }
    }

    /// A new leg on `extension`: its partner, if one waited.
    pub(super) fn arrive(&mut self, leg: LegId, extension: usize) -> Option<LegId> {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.members.insert(
            leg,
            Member {
                extension,
                arrival,
                partner: None,
            },
        );
        self.seat(leg)
    }

    /// The leg is gone.
    pub(super) fn leave(&mut self, leg: LegId) -> Left {
        let Some(member) = self.members.remove(&leg) else {
            return Left::default();
        };
        self.waiting[member.extension].remove(&member.arrival);
        let Some(partner) = member.partner else {
            return Left::default();
        };
        if let Some(left_alone) = self.members.get_mut(&partner) {
            left_alone.partner = None;
        }
        Left {
            partner: Some(partner),
            successor: self.seat(partner),
        }
    }

    /// Who is with `leg`.
    pub(super) fn partner(&self, leg: LegId) -> Option<LegId> {
        self.members.get(&leg)?.partner
    }

    /// Pairs the leg with the longest waiting of its partner extension, or lets it wait.
    fn seat(&mut self, leg: LegId) -> Option<LegId> {
        let Member {
            extension, arrival, ..
        } = *self.members.get(&leg)?;
        let other =
            self.partner_of[extension].and_then(|partner| self.waiting[partner].pop_first());
        let Some((_, other)) = other else {
            self.waiting[extension].insert(arrival, leg);
            return None;
        };
        for (one, with) in [(leg, other), (other, leg)] {
            if let Some(member) = self.members.get_mut(&one) {
                member.partner = Some(with);
            }
        }
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: usize = 0;
    const FRENCH: usize = 1;
    const LONELY: usize = 2;

    fn leg(slot: u16) -> LegId {
        LegId {
            slot,
            generation: 1,
        }
    }

    fn rooms() -> Rooms {
        Rooms::new([("7777", "8888"), ("8888", "7777"), ("9999", "7777")].into_iter())
    }

    /// Goal: the order of arrival decides who talks with whom.
    #[test]
    fn first_come_is_first_served() {
        let mut rooms = rooms();
        assert_eq!(rooms.arrive(leg(1), ENGLISH), None);
        assert_eq!(rooms.arrive(leg(2), ENGLISH), None);
        assert_eq!(rooms.arrive(leg(3), FRENCH), Some(leg(1)));
        assert_eq!(rooms.arrive(leg(4), FRENCH), Some(leg(2)));
        assert_eq!(rooms.partner(leg(1)), Some(leg(3)));
    }

    /// Goal: who is left alone goes before those who came after it.
    #[test]
    fn a_leg_left_alone_waits_in_the_order_of_its_own_arrival() {
        let mut rooms = rooms();
        rooms.arrive(leg(1), ENGLISH);
        rooms.arrive(leg(2), FRENCH);
        rooms.arrive(leg(3), ENGLISH);
        assert_eq!(
            rooms.leave(leg(2)),
            Left {
                partner: Some(leg(1)),
                successor: None
            }
        );
        assert_eq!(rooms.arrive(leg(4), FRENCH), Some(leg(1)));
        assert_eq!(
            rooms.leave(leg(1)),
            Left {
                partner: Some(leg(4)),
                successor: Some(leg(3))
            }
        );
        assert_eq!(
            rooms.leave(leg(9)),
            Left::default(),
            "a stranger leaves nobody alone"
        );
    }

    /// Goal: a partner that does not name it back is not taken from its own partner.
    #[test]
    fn a_partner_must_be_mutual() {
        let mut rooms = rooms();
        rooms.arrive(leg(1), ENGLISH);
        assert_eq!(rooms.arrive(leg(2), LONELY), None);
        assert_eq!(rooms.arrive(leg(3), FRENCH), Some(leg(1)));
    }

    /// Goal: an extension may be its own partner.
    #[test]
    fn an_extension_may_be_its_own_partner() {
        let mut rooms = Rooms::new([("1", "1")].into_iter());
        assert_eq!(rooms.arrive(leg(1), 0), None);
        assert_eq!(rooms.arrive(leg(2), 0), Some(leg(1)));
        assert_eq!(rooms.arrive(leg(3), 0), None);
        assert_eq!(rooms.leave(leg(1)).successor, Some(leg(3)));
    }
}
