//! A network that loses, delays, doubles and reorders, on virtual time and from a seed.

use std::collections::BTreeMap;
use std::vec::Vec;

use crate::units::Micros;

/// A small generator of even quality, enough for tests (xorshift64*, Vigna 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next 32 bits.
    pub const fn bits(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// In 0 .. `end`, which is not 0.
    pub const fn below(&mut self, end: u32) -> u32 {
        ((self.bits() as u64 * end as u64) >> 32) as u32
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: f64) -> bool {
        f64::from(self.bits()) < percent / 100.0 * f64::from(u32::MAX)
    }
}

/// What the network does to packets.
///
/// Loss comes in bursts (Gilbert 1960): from good to bad and back by chance, everything is lost
/// while it is bad. The share lost is `to_bad / (to_bad + to_good)`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// Chance before each packet that a good network turns bad, in percent.
    pub to_bad_percent: f64,
    /// Chance before each packet that a bad network turns good, in percent.
    pub to_good_percent: f64,
    /// Delay between 0 and this, drawn for each packet: it reorders when longer than the packets'
    /// distance.
    pub jitter_us: u32,
    /// Chance that a packet comes twice, in percent.
    pub duplicate_percent: f64,
}

/// One direction of a network.
#[derive(Debug)]
pub struct Netem {
    profile: Profile,
    random: Random,
    state: State,
    /// By arrival, then by order of sending.
    on_the_way: BTreeMap<(Micros, u64), Vec<u8>>,
    sent: u64,
    /// Packets it lost.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Bad,
    Good,
}

impl Netem {
    /// An idle network.
    pub const fn new(seed: u64, profile: Profile) -> Self {
        let random = Random::new(seed);
        let on_the_way = BTreeMap::new();
        Self {
            profile,
            random,
            state: State::Good,
            on_the_way,
            sent: 0,
            lost: 0,
        }
    }

    /// A packet enters at `now`.
    pub fn send(&mut self, now: Micros, packet: &[u8]) {
        let (leave, next) = match self.state {
            State::Bad => (self.profile.to_good_percent, State::Good),
            State::Good => (self.profile.to_bad_percent, State::Bad),
        };
        if self.random.chance(leave) {
            self.state = next;
        }
        if self.state == State::Bad {
            self.lost += 1;
            return;
        }
        let copies = if self.random.chance(self.profile.duplicate_percent) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let delay = u64::from(self.random.below(self.profile.jitter_us + 1));
            self.on_the_way
                .insert((Micros(now.0 + delay), self.sent), packet.into());
            self.sent += 1;
        }
    }

    /// The next packet that has arrived by `now`, and when it did.
    pub fn receive(&mut self, now: Micros) -> Option<(Micros, Vec<u8>)> {
        let first = self.on_the_way.first_entry()?;
        let at = first.key().0;
        (at <= now).then(|| (at, first.remove()))
    }
}
