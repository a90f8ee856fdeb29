//! Events: hints for who watches. They may repeat, and may be missed; the journal is what was recorded.
//!
//! An event is encoded once, as a [`Frame`], and shared by all who get it. A stream is a topic with a window of frames in memory; a
//! subscriber is a cursor on it, and a [`Filter`].

#![cfg_attr(
    not(feature = "service"),
    expect(dead_code, reason = "some things a service alone asks of a stream")
)]

mod channel;
mod filter;
mod follower;
mod frame;
mod held;
#[cfg(feature = "service")]
mod hub;
#[cfg(feature = "service")]
mod logged;
#[cfg(feature = "service")]
mod recorded;
mod said;
mod signal;
mod stretches;
mod subscription;
#[cfg(feature = "service")]
mod taken;
#[cfg(any(feature = "client", feature = "service"))]
mod told;
mod topic;
mod vocabulary;
mod wakers;

pub use channel::{Channel, Events, NameRefused, Replay};
pub use filter::{Filter, FilterUnknown, Preset};
pub use frame::{Frame, Source};
#[cfg(feature = "service")]
pub(crate) use hub::{Full, Hub, Seat, Stream};
#[cfg(feature = "service")]
pub(crate) use logged::ToldLine;
pub use said::GapReason;
#[cfg(feature = "service")]
pub(crate) use said::{heartbeat, stream_error, stream_gap, stream_open};
pub use signal::Signal;
#[cfg(feature = "service")]
pub(crate) use subscription::{Choice, Loaded, Loader, Next, Subscription, Told};
#[cfg(any(feature = "client", feature = "service"))]
pub(crate) use told::ToldRun;
#[cfg(feature = "service")]
pub(crate) use topic::More;
pub use vocabulary::EventKind;
