//! What becomes of a report at the service: answered, refused, or still to be sent.

use bytes::Bytes;

use super::state::{State, place_of};
use super::telling::{Keyed, Report};
use crate::client::calls::{Appended, Finalized, RunState};
use crate::client::error::ClientError;
use crate::client::http::{Client, NO_PROBLEM};
use crate::evidence::canonical::Object;

/// Why a report was not delivered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Undelivered {
    /// The service is away or cannot take it now.
    Later { why: String },
    /// The service does not let us in, or does not know the run: somebody has to do something.
    Held { why: String },
    /// The service refused it for good.
    Refused { why: String },
    /// Where it is kept, it cannot be read.
    Unreadable { why: String },
}

/// What the service answered so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The run that was opened.
    pub(crate) opened: Option<RunState>,
    /// Where the last entries stand.
    pub(crate) appended: Option<Appended>,
    /// The seal.
    pub(crate) sealed: Option<Finalized>,
    /// What was refused, and why.
    pub(crate) refused: Vec<String>,
    /// What else a person should know.
    pub(crate) notes: Vec<String>,
}

/// Sends the reports of one producer to one run, in order. The same reports sent again are recorded once.
pub(crate) struct Courier<'c> {
    pub(super) client: &'c Client,
    /// The run as the producer names it.
    pub(super) run: String,
    pub(super) state: State,
    /// The state, when it was asked for the last time.
    noted: State,
    pub(crate) told: Told,
    /// The number that was free behind the last id that was taken: it mostly is behind the next as well.
    pub(super) number: u64,
}

impl<'c> Courier<'c> {
    /// For reports to that run, of which those were delivered before, as far as `state` says.
    pub(crate) fn new(client: &'c Client, run: &str, state: Option<&Object<'_>>) -> Self {
        let state = state.map(State::read).unwrap_or_default();
        Self { client, run: run.to_owned(), noted: state.clone(), state, told: Told::default(), number: 0 }
    }

    /// What goes on, and what does no more.
    fn remember(&mut self, keyed: &Keyed) {
        if let Report::Entries { entries, .. } = &keyed.report {
            entries.iter().for_each(|entry| self.remember_entry(entry));
        }
    }

    fn remember_entry(&mut self, entry: &Object<'static>) {
        let Some(place) = place_of(entry) else { return };
        match entry.text("type") {
            Some("step_started") => drop(self.state.started.insert(place, entry.clone())),
            Some("step") => drop(self.state.started.remove(&place)),
            _ => {}
        }
    }

    /// The run that takes what is sent now.
    pub(crate) fn run(&self) -> &str {
        self.run_of(&self.state)
    }

    /// The run that would take it then.
    pub(super) fn run_of<'s>(&'s self, state: &'s State) -> &'s str {
        state.moved_to.as_deref().unwrap_or(&self.run)
    }

    /// To go on from, later or elsewhere.
    pub(crate) fn state(&self) -> Object<'static> {
        self.state.write()
    }

    /// That, if it is not what it was when this was asked before.
    pub(crate) fn news(&mut self) -> Option<Object<'static>> {
        if self.noted == self.state {
            return None;
        }
        self.noted.clone_from(&self.state);
        Some(self.state())
    }

    /// Sends one report, and whatever else its way needs.
    pub(crate) async fn deliver(&mut self, keyed: &Keyed) -> Result<(), Undelivered> {
        let key = keyed.key.as_str();
        match &keyed.report {
            _ if self.state.is_refused => {
                return Err(Undelivered::Refused { why: "what was told of it".to_owned() });
            }
            Report::Opening { members, join } => self.open(key, members, *join).await?,
            Report::Entries { entries, again } => self.record(key, entries, *again).await?,
            Report::Log { place, stream, offset, bytes } => {
                self.log(place, *stream, *offset, Bytes::copy_from_slice(bytes)).await?;
            }
            Report::Finalize(members) => self.finalize(key, members).await?,
        }
        self.remember(keyed);
        Ok(())
    }

    async fn open(&mut self, key: &str, members: &Object<'static>, join: bool) -> Result<(), Undelivered> {
        let opened = self.client.open_run_as(members, Some(key)).await;
        self.told.opened = Some(match opened {
            Err(ClientError::Refused { code, .. }) if join && code == "run_exists" => {
                let note = format!("another job opened {}; what it said of the run stands", self.run);
                self.told.notes.push(note);
                self.client.run(&self.run).await.map_err(undelivered)?
            }
            opened => opened.map_err(|error| self.not_opened(error))?.into(),
        });
        Ok(())
    }

    /// Nothing that follows has a place.
    fn not_opened(&mut self, error: ClientError) -> Undelivered {
        let undelivered = undelivered(error);
        let Undelivered::Refused { why } = undelivered else { return undelivered };
        self.state.is_refused = true;
        Undelivered::Refused { why: format!("the run {}: {why}", self.run) }
    }

    async fn finalize(&mut self, key: &str, members: &Object<'static>) -> Result<(), Undelivered> {
        let mut moved = false;
        loop {
            let error = match self.client.finalize_as(self.run(), members, &self.key(key, 0)).await {
                Ok(sealed) => {
                    self.told.sealed = Some(sealed);
                    return Ok(());
                }
                Err(error) => error,
            };
            // What came after the end may have a run that others opened for it.
            if code(&error) == "run_closed" && !moved && self.follow().await? {
                moved = true;
                continue;
            }
            return Err(match undelivered(error) {
                Undelivered::Refused { why } => {
                    Undelivered::Refused { why: format!("the end of the run: {why}") }
                }
                other => other,
            });
        }
    }

    /// The key of a report as it is sent: another body has another key.
    pub(super) fn key(&self, key: &str, taken: u64) -> String {
        match (self.state.moves, taken) {
            (0, 0) => key.to_owned(),
            (moves, taken) => format!("{key}-{moves}-{taken}"),
        }
    }
}

pub(super) fn code(error: &ClientError) -> &str {
    match error {
        ClientError::Refused { code, .. } => code,
        _ => "",
    }
}

pub(super) fn undelivered(error: ClientError) -> Undelivered {
    match error {
        // Not the service, but something before it: a proxy, a sign-in page, a balancer with nothing behind it.
        ClientError::Refused { status, ref code, ref detail, .. } if code == NO_PROBLEM => {
            Undelivered::Later {
                why: format!("{status} {detail}, which is no answer of a Sealstone service"),
            }
        }
        // Something on the way cut it off.
        ClientError::Refused { ref code, .. } if code == "body_incomplete" => {
            Undelivered::Later { why: error.to_string() }
        }
        ClientError::Refused { status: 401 | 403 | 404, .. } | ClientError::Untrusted { .. } => {
            Undelivered::Held { why: error.to_string() }
        }
        ClientError::Refused { ref code, .. } if code == "run_ambiguous" => {
            Undelivered::Held { why: error.to_string() }
        }
        ClientError::Refused { .. } => Undelivered::Refused { why: error.to_string() },
        ClientError::Away { why, .. } => Undelivered::Later { why },
        other => Undelivered::Later { why: other.to_string() },
    }
}
