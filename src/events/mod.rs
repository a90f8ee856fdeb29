//! Events: hints for who watches. They may repeat, and may be missed; the journal is what was recorded.
//!
//! An event is encoded once, as a [`Frame`], and shared by all who get it. A stream is a topic with a window of frames in memory; a
//! subscriber is a cursor on it, and a [`Filter`].

mod channel;
mod filter;
mod frame;
mod held;
mod hub;
mod logged;
mod recorded;
mod said;
mod signal;
mod stretches;
mod subscription;
mod topic;
mod vocabulary;
mod wakers;

pub use channel::{Channel, Events, NameRefused, Replay};
pub use filter::{Filter, FilterUnknown, Preset};
pub use frame::{Frame, Source};
pub(crate) use hub::{Full, Hub, Stream};
pub(crate) use logged::ToldLine;
pub(crate) use recorded::ToldRun;
pub use said::GapReason;
pub(crate) use said::{heartbeat, stream_error, stream_gap, stream_open};
pub use signal::Signal;
pub(crate) use subscription::{Choice, Loaded, Loader, Next, Subscription, Told};
pub(crate) use topic::More;
pub use vocabulary::EventKind;
