//! Whose packet is it: from a port and a source address to a leg.
//!
//! An open-addressed table with linear steps, at most a quarter full, so a lookup reads one or two
//! entries. Removing moves followers back instead of leaving marks, so the table never decays. An
//! IPv4 address and its IPv6-mapped form are the same source.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::msg::{LegId, PortIndex};

/// Places for each leg: a quarter full keeps the steps short.
const PLACES_PER_ROUTE: usize = 4;

/// Why a route was not taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RouteError {
    /// As many routes as were reserved are in use.
    Full,
    /// The source already belongs to this leg; remove it first.
    Taken(LegId),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("every route is in use"),
            Self::Taken(leg) => write!(f, "the source belongs to the leg in slot {}", leg.slot),
        }
    }
}

impl core::error::Error for RouteError {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    address: u128,
    udp_port: u16,
    port: PortIndex,
}

impl Key {
    fn new(port: PortIndex, source: SocketAddr) -> Self {
        let address = match source.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self {
            address: address.to_bits(),
            udp_port: source.port(),
            port,
        }
    }

    /// A well-mixed number: Fibonacci multiplication, its high half folded down.
    fn hash(&self) -> usize {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [low, high] = [self.address, self.address >> u64::BITS].map(|part| {
            let [a, b, c, d, e, f, g, h, ..] = part.to_le_bytes();
            u64::from_le_bytes([a, b, c, d, e, f, g, h])
        });
        let ports = u64::from(self.udp_port) << 8 | u64::from(self.port.0);
        let mixed = [low, high, ports].into_iter().fold(0u64, |hash, part| {
            let product = (hash ^ part).wrapping_mul(ODD);
            product ^ (product >> 32)
        });
        #[expect(clippy::cast_possible_truncation, reason = "any bits of it will do")]
        let hash = mixed as usize;
        hash
    }
}

/// A fixed-capacity map from where a packet came to whose it is.
#[derive(Debug)]
pub struct Routes {
    /// A power of two of them.
    places: Box<[Option<(Key, LegId)>]>,
    len: usize,
    len_max: usize,
}

impl Routes {
    /// Room for `routes_max` sources.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    #[expect(clippy::disallowed_macros, reason = "set-up")]
    pub fn new(routes_max: usize) -> Self {
        let places = (routes_max.max(1) * PLACES_PER_ROUTE).next_power_of_two();
        Self {
            places: vec![None; places].into_boxed_slice(),
            len: 0,
            len_max: routes_max,
        }
    }

    /// From now on, what comes from `source` to `port` is `leg`'s.
    ///
    /// # Errors
    /// [`RouteError`]: nothing changed.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn insert(
        &mut self,
        port: PortIndex,
        source: SocketAddr,
        leg: LegId,
    ) -> Result<(), RouteError> {
        let key = Key::new(port, source);
        let index = self.find(&key);
        if let Some((_, owner)) = self.places[index] {
            return Err(RouteError::Taken(owner));
        }
        if self.len == self.len_max {
            return Err(RouteError::Full);
        }
        self.places[index] = Some((key, leg));
        self.len += 1;
        Ok(())
    }

    /// The leg that owns the source.
    ///
    /// # Real-time
    /// Wait-free, no allocation; an address nobody owns costs no more than one that is known.
    pub fn get(&self, port: PortIndex, source: SocketAddr) -> Option<LegId> {
        self.places[self.find(&Key::new(port, source))].map(|(_, leg)| leg)
    }

    /// Makes the source a stranger again and says whose it was.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn remove(&mut self, port: PortIndex, source: SocketAddr) -> Option<LegId> {
        let mut hole = self.find(&Key::new(port, source));
        let (_, leg) = self.places[hole].take()?;
        self.len -= 1;
        let mask = self.places.len() - 1;
        let mut next = (hole + 1) & mask;
        while let Some((key, _)) = self.places[next] {
            // A follower may move back to the hole unless it would pass its own first place.
            let steps = next.wrapping_sub(key.hash()) & mask;
            let back = next.wrapping_sub(hole) & mask;
            if steps >= back {
                self.places.swap(hole, next);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        Some(leg)
    }

    /// How many sources are known.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no source is known.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where `key` is, or the free place where it would be. There is always a free place, since no
    /// more than a quarter are taken.
    fn find(&self, key: &Key) -> usize {
        let mask = self.places.len() - 1;
        let mut index = key.hash() & mask;
        while let Some((other, _)) = &self.places[index]
            && other != key
        {
            index = (index + 1) & mask;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;
    use std::collections::HashMap;

    const ROUTES: usize = 12;

    fn source(host: u8, port: u16) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 0, host), port).into()
    }

    const fn leg(slot: u16) -> LegId {
        LegId {
            slot,
            generation: 1,
        }
    }

    #[test]
    fn an_address_and_its_mapped_form_are_one_source() {
        let mut routes = Routes::new(4);
        routes
            .insert(PortIndex(0), source(1, 4000), leg(7))
            .unwrap();
        let mapped = (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1), 4000).into();
        assert_eq!(routes.get(PortIndex(0), mapped), Some(leg(7)));
        assert_eq!(
            routes.insert(PortIndex(0), mapped, leg(8)),
            Err(RouteError::Taken(leg(7)))
        );
        assert_eq!(
            routes.get(PortIndex(1), mapped),
            None,
            "another port, another leg"
        );
        assert_eq!(routes.remove(PortIndex(0), mapped), Some(leg(7)));
        assert!(routes.is_empty());
    }

    #[test]
    fn asterisk_like_sources_spread_well() {
        // Even ports of one address in a row, as Asterisk hands them out.
        let mut routes = Routes::new(1024);
        for n in 0..1024u16 {
            routes
                .insert(PortIndex(0), source(1, 10_000 + 2 * n), leg(n))
                .unwrap();
        }
        let taken = |place: &&[Option<(Key, LegId)>]| place.iter().all(Option::is_some);
        let crowded = routes.places.windows(16).filter(taken).count();
        assert_eq!(crowded, 0, "no run of 16 places is full");
    }

    proptest! {
        /// Goal: the table is a map. Method: random operations beside a `HashMap`.
        #[test]
        fn random_operations_agree_with_a_hash_map(
            operations in prop::collection::vec((0..3u8, 0..2u8, 0..4u8, 0..4u16, 0..99u16), 0..300)
        ) {
            let mut routes = Routes::new(ROUTES);
            let mut model = HashMap::new();
            for (operation, port, host, udp_port, slot) in operations {
                let (port, source) = (PortIndex(port), source(host, udp_port));
                let key = (port, source);
                match operation {
                    0 => {
                        let expected = match model.get(&key) {
                            Some(owner) => Err(RouteError::Taken(*owner)),
                            None if model.len() == ROUTES => Err(RouteError::Full),
                            None => Ok(()),
                        };
                        prop_assert_eq!(routes.insert(port, source, leg(slot)), expected);
                        if expected.is_ok() {
                            model.insert(key, leg(slot));
                        }
                    }
                    1 => prop_assert_eq!(routes.remove(port, source), model.remove(&key)),
                    _ => prop_assert_eq!(routes.get(port, source), model.get(&key).copied()),
                }
                prop_assert_eq!(routes.len(), model.len());
            }
            for ((port, source), leg) in model {
                prop_assert_eq!(routes.get(port, source), Some(leg));
            }
        }
    }
}
