//! Runs: opened, found, listed, shown.

use std::sync::OnceLock;

use tokio::sync::OwnedSemaphorePermit;

use super::sealer::with_parts;
use super::{Action, Caller, Service, ServiceError};
use crate::append::OpenRun;
use crate::events::Frame;
use crate::evidence::canonical::Object;
use crate::evidence::seal::envelope_of;
use crate::journal::{Opening, Overview, Run, Standing, State};
use crate::store::layout::is_evidence_id;
use crate::store::{Store, StoreError};

/// A run as it is: what is known, what waits, and the record so far.
pub(crate) struct Snapshot {
    pub(crate) overview: Overview,
    pub(crate) standing: Standing,
    /// JSON objects.
    pub(crate) pending_steps: Vec<Object<'static>>,
    /// JSON objects.
    pub(crate) open_gates: Vec<Object<'static>>,
    /// The last signal of how far it is.
    pub(crate) progress: Option<Frame>,
    /// Canonical text, and its place, to be kept until it is sent.
    pub(crate) envelope: Option<(String, OwnedSemaphorePermit)>,
}

impl Service {
    /// Opens a run; true if this request did.
    pub(crate) async fn open(
        &self,
        opening: Opening,
        key: Option<String>,
        bytes: usize,
        caller: &Caller,
    ) -> Result<(Overview, Standing, bool), ServiceError> {
        caller.check(Action::Write)?;
        self.check_still(caller)?;
        if !caller.sees(opening.project()) {
            return Err(ServiceError::ProjectForbidden { project: opening.project().to_owned() });
        }
        let by = caller.name().map(str::to_owned);
        Ok(self.opens.open(OpenRun { opening, key, bytes, by }).await?)
    }

    /// The evidence_id of a run that is named by it, or by its run_id, for a caller who may do that to it. A run of a project
    /// that the caller does not see is not there.
    pub(crate) async fn find(
        &self,
        caller: &Caller,
        action: Action,
        run: &str,
        project: Option<&str>,
    ) -> Result<String, ServiceError> {
        caller.check(action)?;
        // The body of the request may have taken its time.
        self.check_still(caller)?;
        if project.is_none()
            && is_evidence_id(run)
            && self.lanes.project(run).is_some_and(|project| caller.sees(&project))
        {
            return Ok(run.to_owned());
        }
        let (run, project, caller) = (run.to_owned(), project.map(str::to_owned), caller.clone());
        let another = self.another.clone();
        let wanted = move |of: &str| caller.sees(of) && project.as_ref().is_none_or(|project| project == of);
        let mut found = self
            .read(move |store| {
                // An evidence_id is ours: no run_id that somebody chose stands in its way.
                if is_evidence_id(&run) {
                    match store.run(&run)? {
                        Some((overview, _)) if wanted(&overview.project) => {
                            return Ok(vec![(overview.project, run)]);
                        }
                        Some(_) => {}
                        None => read_another(store, &another)?,
                    }
                }
                store.named(&run, &wanted)
            })
            .await?;
        match (found.pop(), found.is_empty()) {
            (Some((_, evidence_id)), true) => Ok(evidence_id),
            (Some((last, _)), false) => {
                let projects = found.into_iter().map(|(project, _)| project).chain([last]).collect();
                Err(ServiceError::RunAmbiguous { projects })
            }
            (None, _) => Err(ServiceError::not_found()),
        }
    }

    /// A run as it is.
    pub(crate) async fn snapshot(
        &self,
        evidence_id: &str,
        with_envelope: bool,
    ) -> Result<Snapshot, ServiceError> {
        let (overview, standing) = self.standing(evidence_id).await?;
        let mut snapshot = match standing.state {
            // Nothing waits in it, so its journal need not be read for that.
            State::Sealed => {
                let (pending_steps, open_gates) = (Vec::new(), Vec::new());
                let (progress, envelope) = (None, None);
                Snapshot { overview, standing, pending_steps, open_gates, progress, envelope }
            }
            _ => self.lanes.view(evidence_id, look).await?,
        };
        snapshot.progress = self.hub.progress(evidence_id);
        if with_envelope {
            let place = self.whole_place().await?;
            let (evidence_id, pos) = (evidence_id.to_owned(), snapshot.standing.pos);
            let envelope = self.read(move |store| {
                let count = usize::try_from(pos.saturating_add(1)).unwrap_or(usize::MAX);
                Ok((with_parts(&store.records(&evidence_id, 0, count)?, envelope_of), place))
            });
            snapshot.envelope = Some(envelope.await?);
        }
        Ok(snapshot)
    }

    /// After how many seconds without anything that is accepted under it a run is closed.
    pub(crate) fn idle_timeout_s(&self, overview: &Overview) -> u64 {
        let ms = overview.settings.periods(&self.surroundings.periods).idle_timeout_ms;
        u64::try_from(ms).unwrap_or_default().div_ceil(1_000)
    }

    /// What is known of a run, as it was committed.
    pub(crate) async fn standing(&self, evidence_id: &str) -> Result<(Overview, Standing), ServiceError> {
        let evidence_id = evidence_id.to_owned();
        let found = self.read(move |store| -> Result<_, StoreError> { store.run(&evidence_id) }).await?;
        found.ok_or_else(ServiceError::not_found)
    }
}

fn look(run: &Run) -> Snapshot {
    Snapshot {
        overview: run.overview().clone(),
        standing: run.standing(),
        pending_steps: pending_steps(run),
        open_gates: run.open_gates().into_iter().map(|gate| run.shown_gate(&gate.members)).collect(),
        progress: None,
        envelope: None,
    }
}

/// Reads some run in place of one that is not there, so that this takes as long as finding one that the caller may not see.
fn read_another(store: &dyn Store, another: &OnceLock<String>) -> Result<(), StoreError> {
    let Some(evidence_id) = another.get() else {
        let (runs, _) = store.all_runs(None, 1)?;
        runs.into_iter().for_each(|(overview, _)| drop(another.set(overview.evidence_id)));
        return Ok(());
    };
    store.run(evidence_id).map(drop)
}

/// What identifies a step that began; nothing of it that may be private.
fn pending_steps(run: &Run) -> Vec<Object<'static>> {
    let shown = |step: &crate::journal::PendingStep| {
        let mut out = Object::new();
        for name in ["step_id", "kind", "attempt", "phase", "started_at"] {
            if let Some(value) = step.members.get(name) {
                out.insert(name, value.clone());
            }
        }
        out.insert("at", step.at);
        out
    };
    run.pending_steps().into_iter().map(shown).collect()
}
