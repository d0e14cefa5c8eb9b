//! Legs by name: a fixed number of slots, each with a generation that tells its users apart.

use std::collections::VecDeque;

use diglot_rt::limits::LEGS_MAX;
use diglot_rt::msg::LegId;

/// Up to `legs_max` values, each named by a [`LegId`].
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// Oldest first, so that a slot rests as long as possible before its next use.
    free: VecDeque<u16>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// All slots empty; more than [`LEGS_MAX`] are never made.
    pub(super) fn new(legs_max: usize) -> Self {
        let count = u16::try_from(legs_max.min(LEGS_MAX)).expect("LEGS_MAX fits u16");
        let slots = (0..count)
            .map(|_| Slot {
                generation: 0,
                value: None,
            })
            .collect();
        Self {
            slots,
            free: (0..count).collect(),
        }
    }

    /// Takes a free slot for what `make` returns; `None` if all are in use.
    pub(super) fn insert(&mut self, make: impl FnOnce(LegId) -> T) -> Option<LegId> {
        let slot = self.free.pop_front()?;
        let entry = &mut self.slots[usize::from(slot)];
        entry.generation = entry.generation.wrapping_add(1);
        let id = LegId {
            slot,
            generation: entry.generation,
        };
        entry.value = Some(make(id));
        Some(id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(super) fn find(&self, id: LegId) -> Option<&T> {
        self.entry(id)?.value.as_ref()
    }

    pub(super) fn find_mut(&mut self, id: LegId) -> Option<&mut T> {
        let entry = self.slots.get_mut(usize::from(id.slot))?;
        if entry.generation == id.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    /// Frees the slot; `None` if the name is of a leg that ended before.
    pub(super) fn remove(&mut self, id: LegId) -> Option<T> {
        self.entry(id)?;
        let value = self.slots[usize::from(id.slot)].value.take()?;
        self.free.push_back(id.slot);
        Some(value)
    }

    /// All that are in use, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    fn entry(&self, id: LegId) -> Option<&Slot<T>> {
        self.slots
            .get(usize::from(id.slot))
            .filter(|slot| slot.generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a slot's former user is never mistaken for its present one, and no slot is lost.
    #[test]
    fn a_stale_name_finds_nothing() {
        let mut slots = Slots::new(1);
        let first = slots.insert(|id| id).expect("a free slot");
        assert!(slots.is_full());
        assert_eq!(slots.insert(|id| id), None);
        assert_eq!(slots.remove(first), Some(first));
        assert_eq!(slots.remove(first), None, "freed once only");
        let second = slots.insert(|id| id).expect("the slot is free again");
        assert_eq!(second.slot, first.slot);
        assert_eq!(slots.find(first), None);
        assert_eq!(slots.find_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.find(second), Some(&second));
    }
}
