//! Events in one process: published, filtered, replayed, without any service.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio_stream::Stream;

use super::filter::Filter;
use super::frame::Frame;
use super::said::{GapReason, stream_gap};
use super::subscription::{Next, Subscription, Told};
use super::topic::{More, Topic};
use crate::evidence::canonical::Object;
use crate::evidence::envelope::limits::is_id;
use crate::evidence::time::Timestamp;

/// How many events a subscriber takes at once.
const AT_ONCE: usize = 64;

/// A channel of events: what is published is heard by all who subscribe, and by who subscribes later as far as it is kept.
///
/// ```
/// use sealstone::events::{Channel, Filter, Replay};
/// use sealstone::evidence::canonical::{Object, Value};
/// use sealstone::evidence::time::Timestamp;
/// use tokio_stream::StreamExt as _;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let channel = Channel::new("1", 1 << 20);
/// let at: Timestamp = "2026-01-31T12:00:00.000Z".parse()?;
/// channel.publish("run_started", at, Object::new())?;
/// channel.publish("custom:deployed", at, Object::from_iter([("where", Value::from("staging"))]))?;
/// channel.publish("checkpoint", at, Object::new())?;
/// channel.close();
///
/// // Who comes late hears what is kept.
/// let mut events = channel.subscribe(Filter::types(["custom:deployed"])?, Replay::All);
/// let mut heard = Vec::new();
/// while let Some(event) = events.next().await {
///     heard.push(event.name().to_owned());
/// }
/// assert_eq!(heard, ["run_started", "custom:deployed"]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Channel {
    topic: Arc<Topic>,
}

/// What a new subscriber hears of what was published before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// What came after the event of that id.
    After(String),
    /// All that is kept.
    All,
    /// Nothing.
    Nothing,
}

/// A name that no event may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRefused {
    /// The name.
    pub name: String,
}

impl fmt::Display for NameRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no name of an event: 1–128 of A–Z a–z 0–9 . _ : - expected", self.name)
    }
}

impl std::error::Error for NameRefused {}

impl Channel {
    /// A channel that keeps about so many bytes for who comes late or is slow. Ids are `epoch`, `-`, and a number: channels whose ids
    /// must not be taken for each other's have different epochs.
    pub fn new(epoch: &str, max_bytes: usize) -> Self {
        Self { topic: Arc::new(Topic::volatile(epoch, max_bytes)) }
    }

    /// Publishes an event; `type` and `at` are added to its data.
    pub fn publish(&self, name: &str, at: Timestamp, data: Object<'_>) -> Result<(), NameRefused> {
        if !is_id(name) {
            return Err(NameRefused { name: name.to_owned() });
        }
        // The topic gives the id.
        self.topic.push(&[Frame::new(Some(""), name, at, None, data)]);
        Ok(())
    }

    /// A channel of one run, that keeps all that is recorded in it, and the last of what is told besides.
    #[cfg(feature = "client")]
    pub(crate) fn of_run() -> Self {
        Self { topic: Arc::new(Topic::whole()) }
    }

    /// Publishes what was recorded at that position, which is its id.
    #[cfg(feature = "client")]
    pub(crate) fn record(&self, pos: u64, frame: Frame) {
        self.topic.put(pos, &[frame]);
    }

    /// Publishes what has no position.
    #[cfg(feature = "client")]
    pub(crate) fn signal(&self, frame: Frame) {
        self.topic.signal(&[frame]);
    }

    /// Subscribes; it ends when the channel is closed and all is heard.
    pub fn subscribe(&self, filter: Filter, replay: Replay) -> Events {
        let subscription = Subscription::new(self.topic.clone(), filter, None);
        let (next, mut gap) = (subscription.end(), None);
        let begin = match replay {
            Replay::All => Some(subscription.oldest()),
            Replay::Nothing => None,
            Replay::After(id) => subscription.after(&id).filter(|at| *at <= next).or_else(|| {
                gap = Some(GapReason::Cursor);
                Some(subscription.oldest())
            }),
        };
        Events {
            subscription: match begin {
                Some(at) => subscription.rewound(at),
                None => subscription,
            },
            gap,
            heard: VecDeque::new(),
            at: Timestamp::from_unix_ms(0),
        }
    }

    /// Nothing is published any more.
    pub fn close(&self) {
        self.topic.end();
    }
}

/// What a subscriber hears. What it missed because it was too slow, or came too late, it hears as an event `stream_gap`.
pub struct Events {
    subscription: Subscription,
    gap: Option<GapReason>,
    heard: VecDeque<Frame>,
    /// When the last event was.
    at: Timestamp,
}

impl Stream for Events {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Some(reason) = self.gap.take() {
            return Poll::Ready(Some(stream_gap(self.at, None, reason, None)));
        }
        loop {
            if let Some(frame) = self.heard.pop_front() {
                self.at = frame.at();
                return Poll::Ready(Some(frame));
            }
            let Self { subscription, heard, at, .. } = &mut *self;
            let next = subscription.poll_next(cx, &mut |told| {
                if heard.len() >= AT_ONCE {
                    return More::No;
                }
                let (Told::Frame(frame) | Told::Replayed(frame)) = told;
                heard.push_back(frame.clone());
                More::Yes
            });
            match ready!(next) {
                Next::Some | Next::Away(_) => {}
                Next::Gap(from, to) => {
                    let ids = (subscription.id(from), subscription.id(to.saturating_sub(1)));
                    let missed = Some((ids.0.as_str(), ids.1.as_str()));
                    return Poll::Ready(Some(stream_gap(*at, None, GapReason::Lag, missed)));
                }
                Next::End | Next::Shut => return Poll::Ready(None),
            }
        }
    }
}
