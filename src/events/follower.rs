//! One who follows a stream.

use super::wakers::Place;

/// Where somebody is who follows.
#[derive(Debug)]
pub(super) struct Follower {
    /// The position that comes next.
    pub(super) cursor: u64,
    /// The number of the signal that comes next.
    pub(super) signal: u64,
    /// Signals before this number were there first.
    pub(super) came_at_signal: u64,
    pub(super) place: Option<Place>,
}
