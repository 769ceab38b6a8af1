//! A sorted map that is mostly tiny: a few entries side by side, a tree when there are many.

use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound::{Excluded, Unbounded},
    slice,
};

/// Entries that are kept side by side.
const FEW_MAX: usize = 24;

/// Most locks have one holder and one waiter, most nodes one of each: that these cost no look at memory elsewhere, and no
/// allocation when they come and go, is what makes a large examination fast.
#[derive(Clone, Debug)]
pub(super) enum Sorted<K, V> {
    One(Option<(K, V)>),
    Few(Vec<(K, V)>),
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self::One(None)
    }
}

impl<K: Ord + Copy, V: Copy> Sorted<K, V> {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::One(one) => one.is_none(),
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        match self {
            Self::One(one) => match *one {
                Some((known, before)) if known != key => {
                    let mut few = vec![(known, before), (key, value)];
                    few.sort_unstable_by_key(|(key, _)| *key);
                    *self = Self::Few(few);
                }
                _ => *one = Some((key, value)),
            },
            Self::Few(few) => match few.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(place) => few[place].1 = value,
                Err(_) if few.len() >= FEW_MAX => {
                    let mut many: BTreeMap<K, V> = few.drain(..).collect();
                    many.insert(key, value);
                    *self = Self::Many(many);
                }
                Err(place) => few.insert(place, (key, value)),
            },
            Self::Many(many) => {
                many.insert(key, value);
            }
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        match self {
            Self::One(one) => one.take_if(|(known, _)| *known == key).map(|(_, value)| value),
            Self::Few(few) => {
                let place = few.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                Some(few.remove(place).1)
            }
            Self::Many(many) => {
                let removed = many.remove(&key);
                if many.is_empty() {
                    *self = Self::default();
                }
                removed
            }
        }
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self {
            Self::One(one) => one.as_mut().filter(|(known, _)| *known == key).map(|(_, value)| value),
            Self::Few(few) => {
                let place = few.binary_search_by_key(&key, |(key, _)| *key).ok()?;
                Some(&mut few[place].1)
            }
            Self::Many(many) => many.get_mut(&key),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(one) => usize::from(one.is_some()),
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// The one at a place in the order; of many it takes as long as it is far.
    pub(super) fn at(&self, place: usize) -> Option<(K, V)> {
        match self {
            Self::One(one) => one.filter(|_| place == 0),
            Self::Few(few) => few.get(place).copied(),
            Self::Many(many) => many.iter().nth(place).map(|(key, value)| (*key, *value)),
        }
    }

    pub(super) fn first(&self) -> Option<(K, V)> {
        self.iter().next()
    }

    /// The last one before `key`.
    pub(super) fn before(&self, key: K) -> Option<(K, V)> {
        match self {
            Self::One(one) => one.filter(|(known, _)| *known < key),
            Self::Few(few) => {
                let place = few.partition_point(|(at, _)| *at < key);
                few[..place].last().copied()
            }
            Self::Many(many) => many.range(..key).next_back().map(|(key, value)| (*key, *value)),
        }
    }

    pub(super) fn iter(&self) -> Entries<'_, K, V> {
        match self {
            Self::One(one) => Entries::Few(one.as_slice().iter()),
            Self::Few(few) => Entries::Few(few.iter()),
            Self::Many(many) => Entries::Many(many.range(..)),
        }
    }

    /// Those behind `key`.
    pub(super) fn after(&self, key: K) -> Entries<'_, K, V> {
        match self {
            Self::One(one) => {
                let behind = one.as_slice().iter();
                Entries::Few(if one.is_some_and(|(at, _)| at > key) { behind } else { [].iter() })
            }
            Self::Few(few) => Entries::Few(few[few.partition_point(|(at, _)| *at <= key)..].iter()),
            Self::Many(many) => Entries::Many(many.range((Excluded(key), Unbounded))),
        }
    }

    /// Changes those behind `key`, until `change` says that it is enough.
    pub(super) fn change_after(&mut self, key: K, mut change: impl FnMut(&mut V) -> bool) {
        match self {
            Self::One(one) => {
                one.iter_mut().filter(|(at, _)| *at > key).all(|(_, value)| change(value));
            }
            Self::Few(few) => {
                let place = few.partition_point(|(at, _)| *at <= key);
                few[place..].iter_mut().all(|(_, value)| change(value));
            }
            Self::Many(many) => {
                many.range_mut((Excluded(key), Unbounded)).all(|(_, value)| change(value));
            }
        }
    }
}

/// Entries in their order.
pub(super) enum Entries<'s, K, V> {
    Few(slice::Iter<'s, (K, V)>),
    Many(btree_map::Range<'s, K, V>),
}

impl<K: Copy, V: Copy> Iterator for Entries<'_, K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next().copied(),
            Self::Many(many) => many.next().map(|(key, value)| (*key, *value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_the_same_to_whoever_looks() {
        let (mut sorted, mut plain) = (Sorted::default(), BTreeMap::new());
        let mut random = 1_u32;
        for step in 0..6_000_u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (key, most) = (random >> 16, [60, 10, 2][step as usize / 2_000]);
            let key = key % most;
            if random & 0x300 == 0 || step.is_multiple_of(3) {
                assert_eq!(sorted.remove(key), plain.remove(&key));
            } else {
                sorted.insert(key, step);
                plain.insert(key, step);
            }
            assert_eq!((sorted.is_empty(), sorted.len()), (plain.is_empty(), plain.len()));
            assert_eq!(sorted.at(3), plain.iter().nth(3).map(|(key, value)| (*key, *value)));
            assert!(sorted.iter().eq(plain.iter().map(|(key, value)| (*key, *value))));
            assert!(sorted.after(key).map(|(key, _)| key).eq(plain.range(key + 1..).map(|(key, _)| *key)));
            assert_eq!(sorted.before(key), plain.range(..key).next_back().map(|(key, value)| (*key, *value)));
            assert_eq!(sorted.first(), plain.first_key_value().map(|(key, value)| (*key, *value)));
            assert_eq!(sorted.get_mut(key), plain.get_mut(&key));
            let mut seen = Vec::new();
            sorted.change_after(key, |value| {
                seen.push(*value);
                seen.len() < 5
            });
            assert!(seen.iter().eq(plain.range(key + 1..).map(|(_, value)| value).take(5)));
        }
    }
}
