//! A run that is reported to a service, in the background.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::error::ContextError;
use super::gate::{Answer, Decision};
use super::ledger::Sink;
use super::surroundings::Surroundings;
use crate::client::report::{Delivery, Reporter, Reporting};
use crate::client::spool::{Spool, SpoolKey};
use crate::client::{Client, ClientError, Gate, Retry};
use crate::events::{EventKind, Signal};
use crate::evidence::canonical::Object;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::record::Element;
use crate::evidence::time::Timestamp;

/// How long a gate is waited for at a time.
const WAIT_S: u8 = 30;
/// The pause before a gate is asked for again that cannot be asked for now.
const PAUSE: Duration = Duration::from_millis(500);

/// The service that a run is reported to.
#[derive(Clone, Default)]
pub struct ServiceSettings {
    /// Its address, like `https://evidence.example`.
    pub url: String,
    /// The token of a writer, if it asks for one.
    pub token: Option<String>,
    /// Certificates, PEM, that are trusted besides those of the machine.
    pub authorities: Vec<Vec<u8>>,
    /// Where what it does not acknowledge is kept; without, that is lost when the process ends.
    pub spool: Option<SpoolSettings>,
    /// What the run withholds besides what its project does: pointers into the envelope, or `*`.
    pub private: Vec<String>,
}

/// Where what a service does not acknowledge is kept. `sealstone spool flush` sends it, and so does every later report from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The file of the key that it is encrypted with where there is no token, made if it is not there; the program's own is
    /// `~/.local/share/sealstone/spool.key`.
    pub key: PathBuf,
    /// How many bytes all files there may have, 64 MiB for entries aside.
    pub max_bytes: u64,
}

/// Why a run cannot be reported. That the service is away is no reason.
#[derive(Debug)]
pub enum ConnectError {
    /// The address, the token or a certificate is none.
    Client(ClientError),
    /// The run cannot be recorded.
    Run(ContextError),
    /// There is no key for the spool.
    Spool(io::Error),
    /// There is no thread to report in.
    Thread(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Client(why) => write!(f, "{why}"),
            ConnectError::Run(why) => write!(f, "the run cannot be recorded: {why}"),
            ConnectError::Spool(why) => write!(f, "no key for the spool: {why}"),
            ConnectError::Thread(why) => write!(f, "no thread to report in: {why}"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<ClientError> for ConnectError {
    fn from(error: ClientError) -> Self {
        ConnectError::Client(error)
    }
}

impl From<ContextError> for ConnectError {
    fn from(error: ContextError) -> Self {
        ConnectError::Run(error)
    }
}

/// A run at a service.
pub(super) struct Service {
    pub(super) reporter: Reporter,
    /// For what has to be answered.
    client: Client,
    /// `PROJECT/RUN_ID`.
    run: String,
}

impl Service {
    pub(super) fn begin(
        run: &Object<'static>,
        surroundings: &Surroundings,
        settings: &ServiceSettings,
    ) -> Result<Self, ConnectError> {
        let part = |name| run.text(name).unwrap_or_default();
        let name = format!("{}/{}", part("project"), part("run_id"));
        // The reporter tries again, and so do we.
        let once = Retry { give_up_after: Duration::ZERO, ..Retry::default() };
        let client = || {
            let random = Arc::clone(&surroundings.random);
            let token = settings.token.as_deref();
            Client::new(&settings.url, token, &settings.authorities, once, move || random())
        };
        let spool = settings.spool.as_ref().map(|spool| spool.open(settings, surroundings)).transpose();
        let now = Arc::clone(&surroundings.now);
        let reporting = Reporting {
            client: client()?,
            run: name.clone(),
            spool: spool.map_err(ConnectError::Spool)?,
            now: Box::new(move || now()),
        };
        let client = client()?;
        Ok(Self { reporter: Reporter::start(reporting).map_err(ConnectError::Thread)?, client, run: name })
    }

    pub(super) fn sink(&self, settings: &ServiceSettings) -> Told {
        Told { reporter: self.reporter.clone(), private: settings.private.clone() }
    }

    /// Opens a gate, however long the service is away.
    pub(super) async fn open_gate(&self, gate: &Object<'static>) -> Result<(), ContextError> {
        while unless_away(self.client.open_gate(&self.run, gate).await)?.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Waits for the answer of a gate.
    pub(super) async fn answer(&self, gate_id: &str) -> Result<Answer, ContextError> {
        loop {
            let Some(gate) = unless_away(self.client.gate(&self.run, gate_id, WAIT_S).await)? else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let decision = match gate.decision.as_deref() {
                Some("approved") => Decision::Approved,
                Some("rejected") => Decision::Rejected,
                // The run was closed over our head.
                Some(_) => return Err(ContextError::Closed),
                None => continue,
            };
            return Ok(Answer { decision, comment: gate.comment });
        }
    }
}

/// `None` if it is to be asked again: the service is away, or the run is not there yet.
fn unless_away(answered: Result<Gate, ClientError>) -> Result<Option<Gate>, ContextError> {
    match answered {
        Ok(gate) => Ok(Some(gate)),
        Err(ClientError::Refused { code, .. }) if code == "run_closed" => Err(ContextError::Closed),
        Err(ClientError::Refused { code, detail, .. }) if code != "run_not_found" => {
            Err(ContextError::GateRefused { code, detail })
        }
        Err(_) => Ok(None),
    }
}

impl SpoolSettings {
    fn open(&self, settings: &ServiceSettings, surroundings: &Surroundings) -> io::Result<Spool> {
        let random = Arc::clone(&surroundings.random);
        let key = match &settings.token {
            Some(token) => SpoolKey::of_token(token),
            None => SpoolKey::of_machine(&self.key, &*random)?,
        };
        Ok(Spool { directory: self.directory.clone(), keys: key.into(), max_bytes: self.max_bytes, random })
    }
}

/// Tells a service of a run. What the service itself records at the close, or of gates, it is not told.
pub(super) struct Told {
    reporter: Reporter,
    private: Vec<String>,
}

impl Told {
    fn record(&self, kind: &str, mut members: Object<'static>) {
        members.insert("type", kind.to_owned());
        self.reporter.record(members, None);
    }
}

impl Sink for Told {
    fn notice(&mut self, kind: EventKind, _at: Timestamp, members: &Object<'static>) {
        if kind == EventKind::StepStarted {
            self.record(kind.name(), members.clone());
        }
    }

    fn element(&mut self, element: Element, mut members: Object<'static>) {
        match element.kind {
            Kind::Run => {
                members.remove("evidence_id");
                if !self.private.is_empty() {
                    members.insert("private", self.private.clone());
                }
                self.reporter.open(members, false);
            }
            Kind::Gate => {}
            Kind::Outcome => self.reporter.finalize(members),
            kind => self.record(kind.as_str(), members),
        }
    }

    fn signal(&mut self, signal: Signal, _at: Timestamp, _signal_id: String) {
        self.reporter.signal(signal.into());
    }
}

/// The other side of a [`RunContext`](super::RunContext) that reports to a service: for who has to know that it is all there.
#[must_use = "what is not sent when the process ends is lost, unless its `finish` was awaited"]
pub struct Report {
    reporter: Reporter,
}

/// What became of a run that was reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The service's name of the run, once it has opened it.
    pub evidence_id: Option<String>,
    /// What is sealed, once it is.
    pub envelope_digest: Option<Digest>,
    /// How many reports the service did not acknowledge.
    pub unsent: usize,
    /// Where they are kept; `None` if they are not.
    pub spooled: Option<PathBuf>,
    /// Why they are not sent.
    pub why: Option<String>,
    /// What the service refused for good, and why.
    pub refused: Vec<String>,
}

impl Report {
    pub(super) fn of(service: &Service) -> Self {
        Self { reporter: service.reporter.clone() }
    }

    /// To be awaited when the run is closed: waits until the service has it all, or so long; what is left is in the spool then.
    pub async fn finish(self, within: Duration) -> Delivered {
        self.reporter.finish(within).await.map(Delivered::from).unwrap_or_default()
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}

impl From<Delivery> for Delivered {
    fn from(delivery: Delivery) -> Self {
        let (told, unsent) = (delivery.told, delivery.unsent);
        let evidence_id = told.opened.map(|run| run.evidence_id);
        Self {
            evidence_id: evidence_id
                .or_else(|| told.sealed.as_ref().map(|sealed| sealed.evidence_id.clone())),
            envelope_digest: told.sealed.map(|sealed| sealed.envelope_digest),
            unsent: unsent.as_ref().map_or(0, |unsent| unsent.reports),
            spooled: unsent.as_ref().and_then(|unsent| unsent.path.clone()),
            why: unsent.map(|unsent| unsent.why),
            refused: told.refused,
        }
    }
}
