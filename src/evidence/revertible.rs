//! A map whose changes can be taken back.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// A map that remembers what was changed since it was last settled, so that a step of many changes is taken whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct RevertibleMap<K, V> {
    map: BTreeMap<K, V>,
    /// What stood there before, oldest first.
    changed: Vec<(K, Option<V>)>,
}

impl<K, V> Default for RevertibleMap<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), changed: Vec::new() }
    }
}

impl<K: Clone + Ord, V> RevertibleMap<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.map.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let before = self.map.insert(key.clone(), value);
        self.changed.push((key, before));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    /// Keeps all changes; they can no longer be taken back.
    pub(crate) fn settle(&mut self) {
        self.changed.clear();
    }

    /// A place in the list of changes, to go back to.
    pub(crate) fn mark(&self) -> usize {
        self.changed.len()
    }

    /// Takes back every change since the mark.
    pub(crate) fn revert(&mut self, mark: usize) {
        while self.changed.len() > mark {
            match self.changed.pop() {
                Some((key, Some(before))) => drop(self.map.insert(key, before)),
                Some((key, None)) => drop(self.map.remove(&key)),
                None => {}
            }
        }
    }
}

/// What only the journal does with it.
#[cfg(feature = "service")]
impl<K: Clone + Ord, V> RevertibleMap<K, V> {
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(before) = self.map.remove(key) {
            self.changed.push((key.clone(), Some(before)));
        }
    }

    pub(crate) fn range<R: std::ops::RangeBounds<K>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.map.range(range)
    }
}
