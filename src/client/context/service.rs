//! A run that is reported to a service, in the background.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::asking::{Asker, ask};
use super::core::Core;
use super::error::ContextError;
use super::ledger::{Deciding, Sink};
use super::surroundings::Surroundings;
use crate::client::report::{Delivery, Reporter, Reporting};
use crate::client::spool::{Spool, SpoolKey};
use crate::client::{Client, ClientError, Retry};
use crate::events::{EventKind, Signal};
use crate::evidence::canonical::Object;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::record::Element;
use crate::evidence::time::Timestamp;

/// How long it is tried still, once everybody has let go of a run and of its report.
const LET_GO: Duration = Duration::from_secs(1);
/// What a spool holds at most where nobody says it.
const SPOOL_BYTES: u64 = 256 << 20;

/// The service that a run is reported to.
#[derive(Clone, Default)]
#[non_exhaustive]
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

impl ServiceSettings {
    /// A service at that address, without anything else.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// Where what a service does not acknowledge is kept. `sealstone spool flush` sends it, and so does every later report from there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpoolSettings {
    /// The directory, made if it is not there.
    pub directory: PathBuf,
    /// The file of the key that it is encrypted with where there is no token, made if it is not there; the program's own is
    /// `~/.local/share/sealstone/spool.key`.
    pub key: PathBuf,
    /// How many bytes all files there may have, 64 MiB for entries aside.
    pub max_bytes: u64,
}

impl SpoolSettings {
    /// A directory, and the file of its key; 256 MiB at most.
    pub fn new(directory: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), key: key.into(), max_bytes: SPOOL_BYTES }
    }
}

/// Why a run cannot be reported. That the service is away is no reason.
#[derive(Debug)]
#[non_exhaustive]
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

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConnectError::Client(why) => Some(why),
            ConnectError::Run(why) => Some(why),
            ConnectError::Spool(why) | ConnectError::Thread(why) => Some(why),
        }
    }
}

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

/// A run at a service. Once nobody holds it, what is left is sent for a moment still, and then in the spool.
pub(super) struct Service {
    pub(super) reporter: Reporter,
    /// For what has to be answered.
    client: Arc<Client>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.reporter.end_within(LET_GO);
    }
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
            run: name,
            spool: spool.map_err(ConnectError::Spool)?,
            now: Box::new(move || now()),
        };
        let client = Arc::new(client()?);
        Ok(Self { reporter: Reporter::start(reporting).map_err(ConnectError::Thread)?, client })
    }

    pub(super) fn sink(&self, settings: &ServiceSettings) -> ServiceSink {
        ServiceSink { reporter: self.reporter.clone(), private: settings.private.clone() }
    }

    /// Has a gate opened and asked for; the answer goes to the ledger, whether somebody waits for it or not.
    pub(super) fn ask(&self, gate: Object<'static>, core: Weak<Core>, deciding: Deciding) {
        let asker = Asker { client: self.client.clone(), reporter: self.reporter.clone() };
        let gate_id = gate.text("gate_id").unwrap_or_default().to_owned();
        if let Err(error) = ask(asker, gate, core.clone(), deciding) {
            let why = ContextError::GateRefused { code: "no_thread".into(), detail: error.to_string() };
            core.upgrade().iter().for_each(|core| core.ledger().withdraw_gate(&gate_id, why.clone()));
        }
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
pub(super) struct ServiceSink {
    reporter: Reporter,
    private: Vec<String>,
}

impl ServiceSink {
    fn record(&self, kind: &str, mut members: Object<'static>) {
        members.insert("type", kind.to_owned());
        self.reporter.record(members, None);
    }
}

impl Sink for ServiceSink {
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
    core: Arc<Core>,
    reporter: Reporter,
}

/// What became of a run that was reported. It is all with the service if nothing is unsent, nothing refused, and there is no `why`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The service's name of the run that is sealed, or else of the one that it opened. If somebody closed that before its time, what
    /// came after is in a run of its own, and that is the one that is sealed; `notes` say so.
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
    /// What else a person should know.
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn of(core: Arc<Core>, reporter: Reporter) -> Self {
        Self { core, reporter }
    }

    /// To be awaited when the run is closed: waits until the service has it all, or so long; what is left is in the spool then. A run
    /// that is open takes nothing any more ([`ContextError::ReportFinished`]), and is open at the service until that gives it up.
    pub async fn finish(self, within: Duration) -> Delivered {
        let was_open = self.core.ledger().shut(ContextError::ReportFinished);
        let delivered = self.reporter.finish(within).await.map(Delivered::from);
        let mut delivered = delivered.unwrap_or_else(|| Delivered {
            unsent: self.reporter.waiting(),
            why: Some("the thread that reports ended before its time; please report this".to_owned()),
            ..Delivered::default()
        });
        if was_open {
            let note = "the run was not closed: it stays open until the service gives it up";
            delivered.notes.push(note.to_owned());
        }
        delivered
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").finish_non_exhaustive()
    }
}

impl From<Delivery> for Delivered {
    fn from(Delivery { told, older_refused, unsent, .. }: Delivery) -> Self {
        let sealed = told.sealed.as_ref().map(|sealed| sealed.evidence_id.clone());
        let mut notes = told.notes;
        let older =
            older_refused.iter().map(|why| format!("of what waited before the service refused {why}"));
        notes.extend(older);
        Self {
            evidence_id: sealed.or_else(|| told.opened.map(|run| run.evidence_id)),
            envelope_digest: told.sealed.map(|sealed| sealed.envelope_digest),
            unsent: unsent.as_ref().map_or(0, |unsent| unsent.reports),
            spooled: unsent.as_ref().and_then(|unsent| unsent.path.clone()),
            why: unsent.map(|unsent| unsent.why),
            refused: told.refused,
            notes,
        }
    }
}
