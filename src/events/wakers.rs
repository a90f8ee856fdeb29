//! Who waits for something to happen, in places that are theirs: to wait and to go costs the same however many wait.

use std::task::Waker;

/// The place of one who may wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// All who may wait.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Wakers {
    pub(super) fn place(&mut self) -> Place {
        Place(self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len().saturating_sub(1)
        }))
    }

    /// Wakes that one next time, once.
    pub(super) fn wait(&mut self, place: &Place, waker: &Waker) {
        if let Some(waits) = self.places.get_mut(place.0)
            && !waits.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            *waits = Some(waker.clone());
        }
    }

    pub(super) fn leave(&mut self, place: Place) {
        if let Some(waits) = self.places.get_mut(place.0) {
            *waits = None;
        }
        self.free.push(place.0);
        if self.free.len() == self.places.len() {
            *self = Self::default();
        }
    }

    /// All who wait, to be woken where no lock is held.
    pub(super) fn take(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(Option::take).collect()
    }

    /// How many may wait.
    pub(super) fn len(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }
}
