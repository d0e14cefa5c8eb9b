//! A place for every leg a stage may have, reserved at set-up and found by the leg's name.
//!
//! ```text
//! places  [ leg 0 | free | leg 2 | … ]   by LegId::slot
//! live    [ 2, 0 ]                        the slots in use, dense, in no order, for each group
//! ```
//! Finding, adding and removing take constant time; a walk costs what lives, not what could. The
//! generation in [`LegId`] keeps a name of the past from finding the present owner of a slot.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::msg::LegId;

/// Why a leg was not taken in. The leg that is there is not touched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AddError {
    /// The codec has no static payload type, so Asterisk would drop what is sent.
    CodecNotStatic,
    /// The slot is at or beyond `legs_max`.
    SlotOutOfRange,
    /// Another leg lives in the slot; remove it first.
    SlotTaken,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CodecNotStatic => "the codec has no static payload type to send",
            Self::SlotOutOfRange => "the leg's slot is beyond the legs reserved",
            Self::SlotTaken => "another leg lives in the slot",
        })
    }
}

impl core::error::Error for AddError {}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    group: u8,
    /// Where this slot stands in its group's list.
    position: usize,
    value: T,
}

/// One `T` for each live leg.
#[derive(Debug)]
pub struct Legs<T> {
    places: Box<[Option<Place<T>>]>,
    /// By group. None grows beyond the capacity reserved at `new`, one for each place.
    live: Box<[Vec<u16>]>,
}

impl<T> Legs<T> {
    /// Bytes reserved for each leg.
    pub const BYTES_PER_LEG: usize = size_of::<Option<Place<T>>>() + size_of::<u16>();

    /// Places for slots 0 .. `legs_max`, all in one group.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    pub fn new(legs_max: usize) -> Self {
        Self::with_groups(legs_max, 1)
    }

    /// Places for slots 0 .. `legs_max`, whose legs are walked in groups 0 .. `groups`.
    ///
    /// # Real-time
    /// Set-up only: allocates all it will ever need.
    #[expect(clippy::disallowed_methods, reason = "set-up")]
    pub fn with_groups(legs_max: usize, groups: u8) -> Self {
        let mut places = Vec::with_capacity(legs_max);
        places.resize_with(legs_max, || None);
        let live = (0..groups.max(1)).map(|_| Vec::with_capacity(legs_max));
        Self {
            places: places.into_boxed_slice(),
            live: live.collect(),
        }
    }

    /// Takes a leg in, in the first group.
    ///
    /// # Errors
    /// [`AddError`] if there is no such slot or it is taken.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add(&mut self, leg: LegId, value: T) -> Result<(), AddError> {
        self.add_to(0, leg, value)
    }

    /// Takes a leg in; a group that there is not is the last one.
    ///
    /// # Errors
    /// [`AddError`] if there is no such slot or it is taken.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn add_to(&mut self, group: u8, leg: LegId, value: T) -> Result<(), AddError> {
        let place = self
            .places
            .get_mut(usize::from(leg.slot))
            .ok_or(AddError::SlotOutOfRange)?;
        if place.is_some() {
            return Err(AddError::SlotTaken);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most u8::MAX groups")]
        let group = group.min(self.live.len() as u8 - 1);
        let live = &mut self.live[usize::from(group)];
        *place = Some(Place {
            generation: leg.generation,
            group,
            position: live.len(),
            value,
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "one live entry per place: within capacity"
        )]
        live.push(leg.slot);
        Ok(())
    }

    /// Lets a leg go; `None` if it was not there.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn remove(&mut self, leg: LegId) -> Option<T> {
        self.find_mut(leg)?;
        let place = self.places[usize::from(leg.slot)].take()?;
        let live = &mut self.live[usize::from(place.group)];
        live.swap_remove(place.position);
        if let Some(&moved) = live.get(place.position)
            && let Some(moved) = &mut self.places[usize::from(moved)]
        {
            moved.position = place.position;
        }
        Some(place.value)
    }

    /// The leg of exactly this name.
    ///
    /// # Real-time
    /// Wait-free, no allocation.
    pub fn find_mut(&mut self, leg: LegId) -> Option<&mut T> {
        let place = self.places.get_mut(usize::from(leg.slot))?.as_mut()?;
        (place.generation == leg.generation).then_some(&mut place.value)
    }

    /// Shows every live leg to `visit`.
    ///
    /// # Real-time
    /// Wait-free, no allocation; cost by live legs.
    pub fn for_each(&mut self, mut visit: impl FnMut(LegId, &mut T)) {
        for group in 0..self.live.len() {
            self.walk(group, &mut visit);
        }
    }

    /// Shows every live leg of one group to `visit`.
    ///
    /// # Real-time
    /// Wait-free, no allocation; cost by live legs of the group.
    pub fn for_each_in(&mut self, group: u8, mut visit: impl FnMut(LegId, &mut T)) {
        self.walk(usize::from(group), &mut visit);
    }

    fn walk(&mut self, group: usize, visit: &mut impl FnMut(LegId, &mut T)) {
        let Some(live) = self.live.get(group) else {
            return;
        };
        for &slot in live {
            if let Some(place) = &mut self.places[usize::from(slot)] {
                let generation = place.generation;
                visit(LegId { slot, generation }, &mut place.value);
            }
        }
    }

    /// How many live.
    pub fn live(&self) -> usize {
        self.live.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::collections::btree_map::Entry;
    use proptest::prelude::*;

    const LEGS: u16 = 6;
    const GROUPS: u8 = 3;

    proptest! {
        /// Goal: the pool is a map with generations. Method: random operations beside a `BTreeMap`.
        #[test]
        fn random_operations_agree_with_a_map(
            operations in prop::collection::vec((0..3u8, 0..LEGS + 2, 0..3u32), 0..200)
        ) {
            let mut legs = Legs::with_groups(usize::from(LEGS), GROUPS);
            let mut model = BTreeMap::<u16, (u32, usize)>::new();
            for (n, (operation, slot, generation)) in operations.into_iter().enumerate() {
                let leg = LegId { slot, generation };
                let known = model.get(&slot).filter(|m| m.0 == generation).map(|m| m.1);
                match operation {
                    0 => {
                        let expected = if slot >= LEGS {
                            Err(AddError::SlotOutOfRange)
                        } else if let Entry::Vacant(free) = model.entry(slot) {
                            free.insert((generation, n));
                            Ok(())
                        } else {
                            Err(AddError::SlotTaken)
                        };
                        #[expect(clippy::cast_possible_truncation, reason = "below GROUPS")]
                        let group = (n % usize::from(GROUPS)) as u8;
                        prop_assert_eq!(legs.add_to(group, leg, n), expected);
                    }
                    1 => {
                        prop_assert_eq!(legs.remove(leg), known);
                        if known.is_some() {
                            model.remove(&slot);
                        }
                    }
                    _ => prop_assert_eq!(legs.find_mut(leg).copied(), known),
                }
                let mut seen = BTreeMap::new();
                legs.for_each(|leg, value| {
                    assert!(seen.insert(leg.slot, (leg.generation, *value)).is_none());
                });
                prop_assert_eq!(&seen, &model);
                prop_assert_eq!(legs.live(), model.len());
                for group in 0..GROUPS {
                    legs.for_each_in(group, |_, value| {
                        assert_eq!(*value % usize::from(GROUPS), usize::from(group));
                    });
                }
            }
        }
    }
}
