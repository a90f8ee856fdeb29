//! What a run is so far: each thing is checked before it is handed on, and handed on in order.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::error::ContextError;
use super::gate::{Answer, Decision};
use super::surroundings::Surroundings;
use crate::events::{EventKind, Signal};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::consistency::Conflict;
use crate::evidence::envelope::limits::Limits;
use crate::evidence::envelope::{
    Fault, FaultReason, Kind, OF_THE_FINISHED, OF_THE_SERVICE, PrivateMembers, contains_commitment,
};
use crate::evidence::record::{Circumstances, Element, Size, Tally};
use crate::evidence::time::Timestamp;

/// How long a message is at most that a step gets where nobody wrote one: there is always room for it.
pub(super) const MAX_MESSAGE_BYTES: usize = 1_000;

/// What a step is told to be when it begins.
const OF_THE_BEGUN: [&str; 3] = ["attempt", "kind", "step_id"];

/// Where what was checked goes, in order. Called with the run locked: it waits for nothing.
pub(super) trait Sink: Send {
    /// Something that is told, and is not itself evidence.
    fn notice(&mut self, kind: EventKind, at: Timestamp, members: &Object<'static>);
    /// An element, and its members as they were before anything was withheld.
    fn element(&mut self, element: Element, members: Object<'static>);
    /// A hint.
    fn signal(&mut self, signal: Signal, at: Timestamp, signal_id: String);
}

/// For who only wants to know whether it would be taken.
pub(super) struct Nowhere;

impl Sink for Nowhere {
    fn notice(&mut self, _: EventKind, _: Timestamp, _: &Object<'static>) {}
    fn element(&mut self, _: Element, _: Object<'static>) {}
    fn signal(&mut self, _: Signal, _: Timestamp, _: String) {}
}

/// A step that goes on, by its name and attempt.
pub(super) type StepKey = (String, u64);

/// What began, and the room that is kept for its end.
#[derive(Clone)]
struct Begun {
    members: Object<'static>,
    size: Size,
}

/// What somebody decides, once it is known, or why it will not be; it ends without if the run is closed before.
pub(super) type Deciding = watch::Receiver<Option<Result<Answer, ContextError>>>;

/// A gate, also once it is recorded: who asks the same again gets the same answer.
struct Gate {
    begun: Begun,
    decided: watch::Sender<Option<Result<Answer, ContextError>>>,
}

impl Gate {
    fn is_open(&self) -> bool {
        !matches!(*self.decided.borrow(), Some(Ok(_)))
    }
}

/// One run.
pub(super) struct Ledger {
    tally: Tally,
    surroundings: Surroundings,
    private: PrivateMembers,
    limits: Limits,
    steps: BTreeMap<StepKey, Begun>,
    gates: BTreeMap<String, Gate>,
    /// Room for the ends of all that goes on.
    reserve: Size,
    /// When the last thing was recorded or told: time never goes back.
    last_at: Timestamp,
    /// That it is to stop was told.
    abort_told: bool,
    /// Or why nothing is taken any more.
    open: Result<(), ContextError>,
    sink: Box<dyn Sink>,
}

impl Ledger {
    /// A run that begins with this element.
    pub(super) fn begin(
        run: Object<'static>,
        surroundings: Surroundings,
        private: PrivateMembers,
        limits: Limits,
        sink: Box<dyn Sink>,
    ) -> Result<Self, ContextError> {
        let mut ledger = Self {
            tally: Tally::default(),
            surroundings,
            private,
            limits,
            steps: BTreeMap::new(),
            gates: BTreeMap::new(),
            reserve: Size::default(),
            last_at: Timestamp::from_unix_ms(0),
            abort_told: false,
            open: Ok(()),
            sink,
        };
        ledger.take(vec![(Kind::Run, run, Size::default())])?;
        Ok(ledger)
    }

    /// Records an artifact, an observation or an event.
    pub(super) fn record(&mut self, kind: Kind, mut members: Object<'static>) -> Result<(), ContextError> {
        self.check_open()?;
        check_reserved(&members)?;
        match (kind, members.text("name")) {
            (Kind::Event, Some(name)) if EventKind::is_reserved(name) => {
                return Err(ContextError::EventNameReserved { name: name.to_owned() });
            }
            (Kind::Event, Some("custom:")) => {
                return Err(Fault::expected("a name after custom:").under("name").into());
            }
            _ => {}
        }
        if members.get("content_uri").is_none()
            && let Some(hex) = members.text("digest").and_then(|digest| digest.strip_prefix("sha256:"))
        {
            let content_uri = format!("urn:sha256:{hex}");
            members.insert("content_uri", content_uri);
        }
        self.take(vec![(kind, members, Size::default())])
    }

    /// Begins a step.
    pub(super) fn start_step(&mut self, mut members: Object<'static>) -> Result<StepKey, ContextError> {
        self.check_open()?;
        check_reserved(&members)?;
        if let Some(name) = OF_THE_FINISHED.iter().find(|name| members.get(name).is_some()) {
            return Err(Fault::from(FaultReason::Unknown).under(name).into());
        }
        let step_id = members.text("step_id").unwrap_or_default().to_owned();
        let attempt = members.count("attempt").unwrap_or(1);
        let higher = self.steps.range((step_id.clone(), attempt)..=(step_id.clone(), u64::MAX)).last();
        let last = self.tally.recorded().last_attempt(&step_id).max(higher.map(|((_, last), _)| *last));
        if let Some(last) = last.filter(|last| *last >= attempt) {
            return Err(Conflict::AttemptOrder { step_id, last }.into());
        }
        let at = self.moment();
        if members.get("started_at").is_none() {
            members.insert("started_at", at);
        }
        let size = self.reserve_for(Kind::Step, &longest_end(&members))?;
        self.sink.notice(EventKind::StepStarted, at, &members);
        let key = (step_id, attempt);
        self.steps.insert(key.clone(), Begun { members, size });
        Ok(key)
    }

    /// Records a step. Lower attempts that still go on are over with it: after it they could not be recorded any more.
    pub(super) fn finish_step(
        &mut self,
        key: &StepKey,
        status: &'static str,
        more: &Object<'static>,
    ) -> Result<(), ContextError> {
        self.check_open()?;
        check_reserved(more)?;
        if let Some(member) = OF_THE_BEGUN.iter().find(|member| more.get(member).is_some()) {
            return Err(ContextError::MemberReserved { member: (*member).to_owned() });
        }
        let Some(begun) = self.steps.get(key) else {
            return Err(ContextError::StepOver { step_id: key.0.clone(), attempt: key.1 });
        };
        let (Begun { mut members, size }, at) = (begun.clone(), self.moment());
        for (name, value) in more.iter() {
            members.insert(name.to_owned(), value.clone());
        }
        members.insert("status", status);
        if members.get("finished_at").is_none() {
            let started_at = members.text("started_at").and_then(|time| time.parse::<Timestamp>().ok());
            let ms = started_at.map(|started_at| at.unix_ms().saturating_sub(started_at.unix_ms()));
            members.insert("finished_at", at);
            members.insert("duration_ms", Value::count(ms.and_then(|ms| ms.try_into().ok()).unwrap_or(0)));
        }
        let lower: Vec<StepKey> =
            self.steps.range((key.0.clone(), 0)..key.clone()).map(|(key, _)| key.clone()).collect();
        let mut elements: Vec<_> =
            lower.iter().filter_map(|key| Some(self.steps.get(key)?.at_close())).collect();
        elements.push((Kind::Step, members, size));
        self.take(elements)?;
        self.steps.retain(|known, _| known != key && !lower.contains(known));
        Ok(())
    }

    /// Opens a gate, or attaches to the one that was opened with the same members; whether somebody has to be asked now.
    pub(super) fn open_gate(
        &mut self,
        mut members: Object<'static>,
    ) -> Result<(Deciding, bool), ContextError> {
        self.check_open()?;
        let gate_id = members.text("gate_id").unwrap_or_default().to_owned();
        if let Some(gate) = self.gates.get_mut(&gate_id) {
            members.insert("opened_at", gate.begun.members.get("opened_at").cloned().unwrap_or(Value::Null));
            if gate.begun.members != members {
                return Err(Conflict::UsedId { member: "gate_id", id: gate_id }.into());
            }
            let is_given_up = matches!(*gate.decided.borrow(), Some(Err(_)));
            if is_given_up {
                gate.decided = watch::Sender::new(None);
            }
            return Ok((gate.decided.subscribe(), is_given_up));
        }
        self.tally.recorded().check(Kind::Gate, &members)?;
        let at = self.moment();
        members.insert("opened_at", at);
        let size = self.reserve_for(Kind::Gate, &unanswered(&members))?;
        self.sink.notice(EventKind::NeedsInput, at, &members);
        let (decided, deciding) = watch::channel(None);
        self.gates.insert(gate_id, Gate { begun: Begun { members, size }, decided });
        Ok((deciding, true))
    }

    /// Forgets a gate that nobody will ever answer, and tells who waits: the service has not opened it.
    pub(super) fn withdraw_gate(&mut self, gate_id: &str, why: ContextError) {
        if let Some(gate) = self.gates.remove(gate_id) {
            self.reserve = self.reserve.minus(gate.begun.size);
            gate.decided.send_replace(Some(Err(why)));
        }
    }

    /// Tells who waits that no answer comes. The gate is open still: who asks again has it asked for again.
    pub(super) fn give_up_gate(&mut self, gate_id: &str, why: ContextError) {
        if let Some(gate) = self.gates.get(gate_id).filter(|gate| gate.is_open()) {
            gate.decided.send_replace(Some(Err(why)));
        }
    }

    /// Records the answer of a gate, and tells who waits for it.
    pub(super) fn answer(&mut self, gate_id: &str, answer: Answer) -> Result<(), ContextError> {
        self.check_open()?;
        let open = self.gates.get(gate_id).filter(|gate| gate.is_open());
        let unknown = || ContextError::GateUnknown { gate_id: gate_id.to_owned() };
        let Begun { mut members, size } = open.ok_or_else(unknown)?.begun.clone();
        members.insert("decision", answer.decision.as_str());
        if let Some(comment) = &answer.comment {
            members.insert("comment", comment.clone());
        }
        members.insert("resolved_at", self.moment());
        self.take(vec![(Kind::Gate, members, size)])?;
        if let Some(gate) = self.gates.get(gate_id) {
            gate.decided.send_replace(Some(Ok(answer)));
        }
        Ok(())
    }

    /// Tells once that somebody asked the run to stop.
    pub(super) fn request_abort(&mut self, reason: Option<&str>) -> Result<(), ContextError> {
        self.check_open()?;
        if std::mem::replace(&mut self.abort_told, true) {
            return Ok(());
        }
        let members = Object::from_iter(reason.map(|reason| ("reason", Value::from(reason.to_owned()))));
        let at = self.moment();
        self.sink.notice(EventKind::AbortRequested, at, &members);
        Ok(())
    }

    /// Tells a hint.
    pub(super) fn signal(&mut self, sent: Object<'static>, is_taken: bool) -> Result<(), ContextError> {
        self.check_open()?;
        let signal = Signal::parse(Value::Object(sent))?;
        if is_taken {
            let (at, signal_id) = (self.moment(), self.surroundings.uuid_v7());
            self.sink.signal(signal, at, signal_id);
        }
        Ok(())
    }

    /// Closes the run: first its output, then what goes on as incomplete, what waits as unanswered, and the outcome; all or nothing.
    pub(super) fn close(
        &mut self,
        result: &'static str,
        reason: Option<&str>,
        output: Option<Object<'static>>,
    ) -> Result<(), ContextError> {
        self.check_open()?;
        let mut elements: Vec<_> =
            output.into_iter().map(|output| (Kind::Observation, output, Size::default())).collect();
        elements.extend(self.steps.values().map(Begun::at_close));
        elements.extend(self.gates.values().filter(|gate| gate.is_open()).map(|gate| {
            let Begun { members, size } = &gate.begun;
            (Kind::Gate, unanswered(members), *size)
        }));
        let mut outcome = Object::from_iter([("result", result)]);
        if let Some(reason) = reason {
            outcome.insert("reason", reason.to_owned());
        }
        elements.push((Kind::Outcome, outcome, Size::default()));
        self.take(elements)?;
        self.shut(ContextError::Closed);
        Ok(())
    }

    /// Takes nothing any more; whether it took something until now.
    pub(super) fn shut(&mut self, why: ContextError) -> bool {
        self.steps.clear();
        self.gates.clear();
        std::mem::replace(&mut self.open, Err(why)).is_ok()
    }

    /// Whether the run takes anything.
    pub(super) fn check_open(&self) -> Result<(), ContextError> {
        self.open.clone()
    }

    /// Records elements, all or none; with each goes the room that was kept for it.
    fn take(&mut self, elements: Vec<(Kind, Object<'static>, Size)>) -> Result<(), ContextError> {
        let (before, now) = (self.tally.savepoint(), self.moment());
        let (mut taken, mut reserve) = (Vec::with_capacity(elements.len()), self.reserve);
        for (kind, members, freed) in elements {
            reserve = reserve.minus(freed);
            let around = &mut Circumstances {
                now,
                private: &self.private,
                salt: &mut || (self.surroundings.random)(),
                limits: &self.limits,
                reserve,
            };
            match self.tally.next(kind, members.clone(), around) {
                Ok((element, recorded)) => {
                    self.tally.record(&element, &recorded);
                    taken.push((element, members));
                }
                Err(refused) => {
                    self.tally.revert(before);
                    return Err(refused.into());
                }
            }
        }
        self.tally.settle();
        self.reserve = reserve;
        taken.into_iter().for_each(|(element, members)| self.sink.element(element, members));
        Ok(())
    }

    /// Keeps room for an element that will be like that.
    fn reserve_for(&mut self, kind: Kind, members: &Object<'static>) -> Result<Size, ContextError> {
        let size = self.tally.size_of(kind, members, &self.private, &self.limits)?;
        self.tally.check_reserve(self.reserve.plus(size), &self.limits)?;
        self.reserve = self.reserve.plus(size);
        Ok(size)
    }

    fn moment(&mut self) -> Timestamp {
        self.last_at = self.last_at.max((self.surroundings.now)());
        self.last_at
    }
}

impl Begun {
    /// The step as it is recorded where nobody finished it, with the room that was kept.
    fn at_close(&self) -> (Kind, Object<'static>, Size) {
        let mut members = self.members.clone();
        members.insert("status", "incomplete");
        (Kind::Step, members, self.size)
    }
}

/// Refuses what is set for the producer, and commitments anywhere: they are made when an element is recorded.
pub(super) fn check_reserved(members: &Object<'_>) -> Result<(), ContextError> {
    if let Some((member, _)) = members.iter().find(|(name, _)| OF_THE_SERVICE.contains(name)) {
        return Err(ContextError::MemberReserved { member: member.to_owned() });
    }
    match members.iter().find(|(_, value)| contains_commitment(value)) {
        Some((name, _)) => Err(Fault::from(FaultReason::Reserved).under(name).into()),
        None => Ok(()),
    }
}

fn unanswered(gate: &Object<'static>) -> Object<'static> {
    let mut members = gate.clone();
    members.insert("decision", Decision::UNANSWERED);
    members
}

/// A step as large as its end is where nobody said more of it than a message.
fn longest_end(started: &Object<'static>) -> Object<'static> {
    let mut members = started.clone();
    members.insert("status", "incomplete");
    // A control character takes the most room.
    members.insert("message", "\u{1}".repeat(MAX_MESSAGE_BYTES));
    members.insert("finished_at", Timestamp::from_unix_ms(0));
    members.insert("duration_ms", Value::count(u64::MAX));
    members
}
