//! What comes after the end of a run: a run of its own, which names the one before.

use super::courier::{Courier, Undelivered, undelivered};
use crate::client::calls::RunState;
use crate::client::error::ClientError;
use crate::evidence::canonical::{self, Object, Value};

/// What a run says of itself that holds for its remainder too.
const SAME: [&str; 6] = ["subject", "intent", "producer", "runner_context", "trigger", "labels"];
const SUFFIX: &str = ":rest";
/// An id has at most 128 characters.
const LONGEST_NAME: usize = 110;

impl Courier<'_> {
    /// The run is closed: goes on in one that has it as its previous, the same for all who had something left to tell.
    pub(super) async fn move_on(&mut self) -> Result<(), Undelivered> {
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
        // What goes on there has begun there.
        for started in self.state.started.values().map(|entry| self.state.as_sent(entry)).collect::<Vec<_>>()
        {
            self.client.append(self.run(), &[started], None).await.map_err(undelivered)?;
        }
        Ok(())
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
    for (name, value) in run.iter() {
        // A commitment cannot be told by a producer.
        if SAME.contains(&name) && !value.canonical().contains("\"$withheld\"") {
            members.insert(name.to_owned(), value.clone().into_owned());
        }
    }
    Some(members)
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
