//! What comes after the end of a run: a run of its own, which names the one before.

use super::courier::{Courier, Undelivered, undelivered};
use super::telling::LogPlace;
use crate::client::calls::RunState;
use crate::client::error::ClientError;
use crate::evidence::canonical::{self, Object, Value};

/// What a run says of itself that holds for its remainder too.
const SAME: [&str; 6] = ["subject", "intent", "producer", "runner_context", "trigger", "labels"];
/// What the service says of an attempt that somebody else has.
const TAKEN: [&str; 2] = ["step_exists", "attempt_order"];
const SUFFIX: &str = ":rest";
/// An id has at most 128 characters.
const LONGEST_NAME: usize = 110;

impl Courier<'_> {
    /// The run is closed: goes on in one that has it as its previous, the same for all who had something left to tell.
    pub(super) async fn move_on(&mut self) -> Result<(), Undelivered> {
        let before = self.state.clone();
        let moved = self.try_to_move_on().await;
        if moved.is_err() {
            // It is tried again from where it was.
            self.state = before;
        }
        moved
    }

    async fn try_to_move_on(&mut self) -> Result<(), Undelivered> {
        'open: loop {
            self.open_next().await?;
            // What goes on there has begun there.
            for place in self.state.started.keys().cloned().collect::<Vec<_>>() {
                if !self.begin(&place).await? {
                    continue 'open;
                }
            }
            return Ok(());
        }
    }

    async fn open_next(&mut self) -> Result<(), Undelivered> {
        let closed = self.client.run(self.run()).await.map_err(undelivered)?;
        let snapshot = self.client.snapshot(self.run()).await.map_err(undelivered)?;
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
        self.told.notes.push(format!(
            "the run {} was closed meanwhile; what came after it is in the run {next}",
            closed.run_id
        ));
        self.state.moved_to = Some(next);
        self.state.moves = self.state.moves.saturating_add(1);
        Ok(())
    }

    /// The attempt that goes on is over for the service, because a later one ended: goes on as the next that is free.
    pub(super) async fn begin_again(&mut self, place: &LogPlace) -> Result<(), Undelivered> {
        let before = self.state.clone();
        self.state.next_attempt(place);
        let begun = match self.begin(place).await {
            Ok(false) => self.move_on().await,
            begun => begun.map(drop),
        };
        if begun.is_err() {
            self.state = before;
        }
        begun
    }

    /// Begins a step that goes on in the run that takes it now, as the first attempt that is free; false if that run is closed.
    async fn begin(&mut self, place: &LogPlace) -> Result<bool, Undelivered> {
        while let Some(started) = self.state.started.get(place) {
            let sent = self.state.as_sent(started);
            match self.client.append(self.run(), &[sent], None).await {
                Ok(_) => return Ok(true),
                Err(ClientError::Refused { code, .. }) if code == "run_closed" => return Ok(false),
                Err(ClientError::Refused { code, .. }) if TAKEN.contains(&code.as_str()) => {
                    self.state.next_attempt(place);
                }
                Err(error) => return Err(undelivered(error)),
            }
        }
        Ok(true)
    }

    /// Goes to the remainder of a closed run if somebody opened one; false if there is none.
    pub(super) async fn follow(&mut self) -> Result<bool, Undelivered> {
        let closed = self.client.run(self.run()).await.map_err(undelivered)?;
        let next = format!("{}/{}", closed.project, next_name(&closed.run_id));
        match self.client.run(&next).await {
            Ok(_) => {
                self.state.moved_to = Some(next);
                self.state.moves = self.state.moves.saturating_add(1);
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
    let name = name.get(..LONGEST_NAME).unwrap_or(name);
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
        assert!(is_id(&next_name(&"r".repeat(128))));
    }
}
