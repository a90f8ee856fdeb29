//! What comes after the end of a run: a run of its own, which names the one before.

use super::courier::{Courier, Undelivered, undelivered};
use super::state::{State, place_of};
use super::telling::LogPlace;
use crate::client::calls::RunState;
use crate::client::error::ClientError;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::digest::Digest;

/// What a run says of itself that holds for its remainder too.
const SAME: [&str; 6] = ["subject", "intent", "producer", "runner_context", "trigger", "labels"];
/// What the service says of an attempt that somebody else has.
const TAKEN: [&str; 2] = ["step_exists", "attempt_order"];
const SUFFIX: &str = ":rest";
/// How often a run may be closed before what comes next.
const MOST_MOVES: u64 = 100;
/// How many attempts of a step others may have begun.
const MOST_ATTEMPTS: u32 = 1_000;
/// An id has at most 128 characters.
const LONGEST_NAME: usize = 110;
/// What is left of a longer one before eight digits of its digest.
const CUT_NAME: usize = 101;

/// From where on a log goes to the place that takes it next.
pub(super) type Base<'p> = (&'p LogPlace, u64);

/// What is known changes at once, after the last answer: who gives up in the middle of it, and whoever goes on later, is where it was.
impl Courier<'_> {
    /// The run is closed: goes on in one that has it as its previous, the same for all who had something left to tell.
    pub(super) async fn move_on(&mut self, base: Option<Base<'_>>) -> Result<(), Undelivered> {
        let (state, notes) = self.moved_on(self.state.clone()).await?;
        self.go_on(state, notes, base);
        Ok(())
    }

    /// The attempt that goes on is over for the service, because a later one ended: goes on as the next that is free.
    pub(super) async fn begin_again(&mut self, base: Base<'_>) -> Result<(), Undelivered> {
        let mut state = self.state.clone();
        state.next_attempt(base.0);
        self.begin_in(state, base).await
    }

    /// The service does not know that it goes on: it begins there.
    pub(super) async fn begin_first(&mut self, base: Base<'_>) -> Result<(), Undelivered> {
        self.begin_in(self.state.clone(), base).await
    }

    async fn begin_in(&mut self, mut state: State, base: Base<'_>) -> Result<(), Undelivered> {
        let mut notes = Vec::new();
        if !self.begin(&mut state, base.0).await? {
            (state, notes) = self.moved_on(state).await?;
        }
        self.go_on(state, notes, Some(base));
        Ok(())
    }

    fn go_on(&mut self, mut state: State, notes: Vec<String>, base: Option<Base<'_>>) {
        if let Some((place, base)) = base {
            state.set_base(place, base);
        }
        self.state = state;
        self.told.notes.extend(notes);
    }

    async fn moved_on(&self, mut state: State) -> Result<(State, Vec<String>), Undelivered> {
        let mut notes = Vec::new();
        'open: loop {
            notes.push(self.open_next(&mut state).await?);
            // What goes on there has begun there.
            for place in state.started.keys().cloned().collect::<Vec<_>>() {
                if !self.begin(&mut state, &place).await? {
                    continue 'open;
                }
            }
            return Ok((state, notes));
        }
    }

    async fn open_next(&self, state: &mut State) -> Result<String, Undelivered> {
        if state.moves >= MOST_MOVES {
            return Err(Undelivered::Held {
                why: "every run that takes the rest is closed at once".to_owned(),
            });
        }
        let run = self.run_of(state);
        let closed = self.client.run(run).await.map_err(undelivered)?;
        let snapshot = self.client.snapshot(run).await.map_err(undelivered)?;
        let members = members(&closed, &snapshot).ok_or_else(|| Undelivered::Later {
            why: "what should be a run is no answer of a Sealstone service".to_owned(),
        })?;
        let next = format!("{}/{}", closed.project, members.text("run_id").unwrap_or_default());
        match self.client.open_run(&members).await {
            Ok(_) => {}
            // Somebody else had something left, and told more of it.
            Err(ClientError::Refused { code, .. }) if code == "run_exists" => {}
            Err(error) => return Err(undelivered(error)),
        }
        let note = format!(
            "the run {} was closed meanwhile; what came after it is in the run {next}",
            closed.run_id
        );
        state.move_to(next);
        Ok(note)
    }

    /// Begins a step that goes on in the run that takes it now, as the first attempt that is free; false if that run is closed.
    async fn begin(&self, state: &mut State, place: &LogPlace) -> Result<bool, Undelivered> {
        for _ in 0..MOST_ATTEMPTS {
            let Some(started) = state.started.get(place) else { return Ok(true) };
            let sent = state.as_sent(started);
            match self.client.append(self.run_of(state), &[sent], None).await {
                Ok(_) => return Ok(true),
                Err(ClientError::Refused { code, .. }) if code == "run_closed" => return Ok(false),
                Err(ClientError::Refused { code, .. }) if TAKEN.contains(&code.as_str()) => {
                    state.next_attempt(place);
                }
                Err(error) => return Err(undelivered(error)),
            }
        }
        Err(Undelivered::Held { why: format!("every attempt of {} is taken", place.step_id) })
    }

    /// What the run that was meant says of the kind of a step that began there.
    pub(super) async fn kind_before(&self, entry: &Object<'_>) -> Result<String, Undelivered> {
        let mut kind = None;
        if self.state.moves > 0 {
            let snapshot = self.client.snapshot(&self.run).await.map_err(undelivered)?;
            kind = kind_of(&snapshot, entry);
        }
        Ok(kind.unwrap_or_else(|| "command".to_owned()))
    }

    /// Goes to the remainder of a closed run if somebody opened one; false if there is none.
    pub(super) async fn follow(&mut self) -> Result<bool, Undelivered> {
        let closed = self.client.run(self.run()).await.map_err(undelivered)?;
        let next = format!("{}/{}", closed.project, next_name(&closed.run_id));
        match self.client.run(&next).await {
            Ok(_) => {
                self.state.move_to(next);
                Ok(true)
            }
            Err(ClientError::Refused { code, .. }) if code == "run_not_found" => Ok(false),
            Err(error) => Err(undelivered(error)),
        }
    }
}

/// The remainder of a run, as whoever opens it says it; `None` if that is no snapshot of a run.
fn members(closed: &RunState, snapshot: &[u8]) -> Option<Object<'static>> {
    let link = Object::from_iter([("rel", "previous"), ("evidence_id", &closed.evidence_id)]).into_owned();
    let mut members = Object::from_iter([
        ("project", closed.project.clone().into()),
        ("run_id", Value::from(next_name(&closed.run_id))),
        ("links", vec![Value::from(link)].into()),
    ]);
    let snapshot = canonical::parse(snapshot, snapshot.len()).ok()?;
    let run = snapshot.as_object()?.object("envelope")?.object("run")?;
    for (name, value) in run.iter().filter(|(name, _)| SAME.contains(name)) {
        if let Some(shown) = shown(value) {
            members.insert(name.to_owned(), shown);
        }
    }
    // What is withheld there is withheld here, not to come out by a way around.
    if !closed.private.is_empty() {
        members.insert("private", closed.private.clone());
    }
    Some(members)
}

fn kind_of(snapshot: &[u8], entry: &Object<'_>) -> Option<String> {
    let snapshot = canonical::parse(snapshot, snapshot.len()).ok()?;
    let steps = snapshot.as_object()?.object("envelope")?.object("execution")?.list("steps")?;
    let place = place_of(entry)?;
    let step = steps.iter().filter_map(Value::as_object).find(|step| place_of(step).as_ref() == Some(&place));
    step?.text("kind").map(str::to_owned)
}

/// A value without what is withheld in it: a commitment cannot be told by a producer.
fn shown(value: &Value<'_>) -> Option<Value<'static>> {
    match value {
        Value::Object(members) if members.get("$withheld").is_some() => None,
        Value::Object(members) => {
            let shown = members.iter().filter_map(|(name, value)| Some((name.to_owned(), shown(value)?)));
            Some(Object::from_iter(shown).into())
        }
        value if value.canonical().contains("\"$withheld\"") => None,
        value => Some(value.clone().into_owned()),
    }
}

/// `r`, `r:rest`, `r:rest.2`, `r:rest.3` …
fn next_name(run_id: &str) -> String {
    let (name, number) = match run_id.rsplit_once(SUFFIX) {
        Some((name, "")) => (name, 2),
        Some((name, number)) => {
            match number.strip_prefix('.').and_then(|number| number.parse::<u64>().ok()) {
                Some(number) => (name, number.saturating_add(1)),
                None => (run_id, 1),
            }
        }
        None => (run_id, 1),
    };
    let name = match name.get(..CUT_NAME).filter(|_| name.len() > LONGEST_NAME) {
        // Two that begin alike have two remainders.
        Some(start) => format!("{start}-{}", Digest::of(name).to_hex().get(..8).unwrap_or_default()),
        None => name.to_owned(),
    };
    if number == 1 { format!("{name}{SUFFIX}") } else { format!("{name}{SUFFIX}.{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::envelope::limits::is_id;

    #[test]
    fn a_remainder_is_named_after_what_it_remains_of() {
        for (run_id, next) in [
            ("r", "r:rest"),
            ("r:rest", "r:rest.2"),
            ("r:rest.9", "r:rest.10"),
            ("r:rest.x", "r:rest.x:rest"),
        ] {
            assert_eq!(next_name(run_id), next);
        }
        let long = "r".repeat(127);
        let [one, other] = ["a", "b"].map(|end| next_name(&format!("{long}{end}")));
        assert!(is_id(&one) && one != other, "{one}");
        assert_eq!(next_name(&one), format!("{one}.2"));
    }

    #[test]
    fn a_step_that_ends_in_a_remainder_is_of_the_kind_that_it_began_as() {
        let snapshot = r#"{"envelope":{"execution":{"steps":[{"kind":"build","step_id":"a"},
            {"attempt":2,"kind":"test","step_id":"a"},{"kind":{"$withheld":"c"},"step_id":"b"}]}}}"#;
        let kind = |step_id: &str, attempt: u64| {
            let entry = Object::from_iter([("step_id", step_id.into()), ("attempt", Value::count(attempt))]);
            kind_of(snapshot.as_bytes(), &entry)
        };
        assert_eq!((kind("a", 1), kind("a", 2)), (Some("build".into()), Some("test".into())));
        assert_eq!((kind("a", 3), kind("b", 1), kind_of(b"[]", &Object::new())), (None, None, None));
    }
}
