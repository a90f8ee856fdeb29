//! An event stream as the body of an answer (HTML, section 9.2): what is there goes out in one piece, encoded by nobody again.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use hyper::body::Frame as BodyFrame;
use tokio::time::{Instant, Sleep, sleep_until};

use super::answering::{Answering, Own};
use super::impatient::Patience;
use crate::events::{
    EventKind, Frame, GapReason, More, Next, Source, Subscription, Told, heartbeat, stream_error, stream_gap,
};
use crate::service::{Caller, Followed, Service, ServiceError};

/// How much goes out in one piece.
const MAX_PIECE_BYTES: usize = 16 << 10;
/// How often it is looked whether who asked may still ask.
const CHECK: Duration = Duration::from_secs(15);
/// How long a store that does not answer is left alone.
const AWAY: Duration = Duration::from_secs(1);
/// After how many milliseconds, at least, who was cut off comes back; and at most so many later, that not all come at once.
const RETRY_MS: u64 = 1_000;
const RETRY_SPREAD_MS: u64 = 2_000;

pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// The answer that is a stream, and with `answering` says which lines of the request its events answer.
pub(super) fn event_stream(
    service: Arc<Service>,
    caller: Caller,
    followed: Followed,
    heartbeat: Duration,
    patience: &Patience,
    answering: Option<Answering>,
) -> Response<Body> {
    // It keeps nothing for who takes it slowly.
    patience.with_slow();
    let now = Instant::now();
    let retry_ms = RETRY_MS.saturating_add(service.random_below(RETRY_SPREAD_MS));
    let mut opening = BytesMut::from(format!("retry: {retry_ms}\n\n").as_bytes());
    followed.opening.iter().for_each(|frame| opening.extend_from_slice(frame.block()));
    let stream = EventStream {
        service,
        caller,
        subscription: followed.subscription,
        answering,
        source: followed.source,
        opening: Some(opening.freeze()),
        heartbeat,
        beat_at: now.checked_add(heartbeat).unwrap_or(now),
        tick: Box::pin(sleep_until(now.checked_add(heartbeat.min(CHECK)).unwrap_or(now))),
        away: false,
        behind: GapReason::Trimmed,
        told_why: false,
    };
    let mut response = Response::new(Body::new(stream));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers let this one through as it comes.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The body: a subscription, and one timer.
struct EventStream {
    service: Arc<Service>,
    caller: Caller,
    subscription: Subscription,
    /// What is sent in the same connection.
    answering: Option<Answering>,
    source: Option<Arc<Source>>,
    opening: Option<Bytes>,
    heartbeat: Duration,
    beat_at: Instant,
    tick: Pin<Box<Sleep>>,
    /// What is needed cannot be read; until the next tick nothing is tried.
    away: bool,
    /// Why something is missing, if something is.
    behind: GapReason,
    /// Why it ends early was told.
    told_why: bool,
}

impl EventStream {
    /// What comes next; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(opening));
        }
        loop {
            if Instant::now() >= self.tick.deadline() {
                match self.tick() {
                    Tick::Beat(bytes) => return Poll::Ready(Some(bytes)),
                    Tick::Gone => return Poll::Ready(None),
                    Tick::Nothing => {}
                }
            }
            match self.answering.as_mut().map_or(Own::Nothing, |own| own.poll(cx, &self.subscription)) {
                Own::Event(block) => return Poll::Ready(Some(block)),
                Own::End => return Poll::Ready(None),
                Own::Nothing => {}
            }
            let (mut piece, answering) = (Piece::default(), self.answering.as_ref());
            let next = match self.away {
                true => Poll::Pending,
                false => self.subscription.poll_next(cx, &mut |told| match answering {
                    Some(answering) => answering.take(&told, &mut piece),
                    None => piece.take(&told),
                }),
            };
            match next {
                // What there is has to wait for what answers a line.
                Poll::Ready(Next::Some) if matches!(piece, Piece::Nothing) => {}
                Poll::Ready(Next::Some) => {
                    self.behind = GapReason::Lag;
                    return Poll::Ready(Some(piece.finish()));
                }
                Poll::Ready(Next::Gap(from, to)) => return Poll::Ready(Some(self.gap(from, to))),
                Poll::Ready(Next::Away(why)) => {
                    tracing::debug!(reason = why, "a stream waits for the store");
                    self.away = true;
                    self.tick.as_mut().reset(later(AWAY));
                }
                Poll::Ready(Next::End) if answering.is_some_and(Answering::is_loading) => {}
                // Only logs are taken away from who follows them.
                Poll::Ready(Next::Shut) if !self.told_why && !self.service.is_ending() => {
                    self.told_why = true;
                    let error = ServiceError::LogDeleted;
                    let said = stream_error(self.service.now(), error.code().0, &error.to_string(), None);
                    return Poll::Ready(Some(said.block().clone()));
                }
                Poll::Ready(Next::Shut) => {
                    let rest = self.answering.as_mut().map_or(Poll::Ready(()), |own| own.poll_rest(cx));
                    return rest.map(|()| None);
                }
                Poll::Ready(Next::End) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            ready!(self.tick.as_mut().poll(cx));
        }
    }

    /// What there is to do from time to time.
    fn tick(&mut self) -> Tick {
        self.away = false;
        if self.service.check_still(&self.caller).is_err() {
            return Tick::Gone;
        }
        let now = Instant::now();
        let beats = now >= self.beat_at;
        if beats {
            self.beat_at = later(self.heartbeat);
        }
        self.tick.as_mut().reset(self.beat_at.min(later(CHECK)));
        if beats { Tick::Beat(self.beat()) } else { Tick::Nothing }
    }

    /// That the connection is there, and where to go on from if what was told does not say it.
    fn beat(&mut self) -> Bytes {
        let id = self.subscription.untold_id().map(|id| format!("id: {id}\n")).unwrap_or_default();
        if self.subscription.takes(EventKind::Heartbeat) {
            let beat = heartbeat(self.service.now());
            return [id.as_bytes(), beat.block()].concat().into();
        }
        if id.is_empty() { Bytes::from_static(b":\n\n") } else { (id + "\n").into() }
    }

    fn gap(&mut self, from: u64, to: u64) -> Bytes {
        let ids = (self.subscription.id(from), self.subscription.id(to.saturating_sub(1)));
        let (reason, missed) = (self.behind, Some((ids.0.as_str(), ids.1.as_str())));
        self.behind = GapReason::Lag;
        stream_gap(self.service.now(), self.source.clone(), reason, missed).block().clone()
    }
}

enum Tick {
    Beat(Bytes),
    /// Who asked may not ask any more.
    Gone,
    Nothing,
}

fn later(after: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(after).unwrap_or(now)
}

/// What goes out at once: one frame as it is, or several copied together.
#[derive(Default)]
pub(super) enum Piece {
    #[default]
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl Piece {
    pub(super) fn take(&mut self, told: &Told<'_>) -> More {
        match told {
            Told::Frame(frame) => self.add(frame.block()),
            Told::Replayed(frame) => self.add(&replayed(frame)),
        }
    }

    pub(super) fn add(&mut self, block: &Bytes) -> More {
        match self {
            Piece::Nothing => *self = Piece::One(block.clone()),
            Piece::One(first) if fits(first.len(), block) => {
                let mut several = BytesMut::with_capacity(
                    MAX_PIECE_BYTES.min(first.len().saturating_add(block.len()).saturating_mul(2)),
                );
                several.extend_from_slice(first);
                several.extend_from_slice(block);
                *self = Piece::Several(several);
            }
            Piece::Several(several) if fits(several.len(), block) => several.extend_from_slice(block),
            Piece::One(_) | Piece::Several(_) => return More::No,
        }
        More::Yes
    }

    fn finish(self) -> Bytes {
        match self {
            Piece::Nothing => Bytes::new(),
            Piece::One(block) => block,
            Piece::Several(several) => several.freeze(),
        }
    }
}

fn fits(bytes: usize, block: &Bytes) -> bool {
    bytes.saturating_add(block.len()) <= MAX_PIECE_BYTES
}

fn replayed(frame: &Frame) -> Bytes {
    frame.with_member("replayed", true)
}

impl hyper::body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let piece = ready!(self.poll_piece(cx));
        Poll::Ready(piece.map(|piece| Ok(BodyFrame::data(piece))))
    }
}
