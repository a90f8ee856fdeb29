//! A run as a program sees it from inside: what it does is recorded as it does it, and told to who watches.
//!
//! A [`RunContext`] is cheap to clone, and any thread or task may use it. What it takes it takes at once: no call waits for a
//! network or a reader, but those that are `async`, and none panics. While a spool is being written, one may wait for its disk.
//!
//! What it does not take it refuses with a [`ContextError`], at the call, by the rules of a service, and the run goes on without it;
//! whoever reports something may therefore ignore the error. There are two timelines:
//!
//! - the **record**: steps, artifacts, observations, events, gates. In order, once each, part of the sealed envelope.
//! - **hints**: progress, tokens, `custom:` signals. For who watches at the moment; the first to be dropped where there is no room.
//!
//! ```
//! use sealstone::client::context::{Decision, QueueSettings, RunContext, StepStatus, Surroundings};
//! use sealstone::events::Filter;
//! use sealstone::evidence::canonical::{Object, Value};
//! # use sealstone::evidence::time::Timestamp;
//! # fn clock() -> Timestamp { Timestamp::from_unix_ms(0) }
//! # fn random() -> [u8; 16] { [7; 16] }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let run = Object::from_iter([("project", "acme/agent")]);
//! let (context, queue) = RunContext::start(run, Surroundings::new(clock, random), &QueueSettings::default())?;
//!
//! let step = context.step("plan", "custom")?;
//! step.emit_token("first, ")?;
//! step.finish(StepStatus::Passed, Object::new())?;
//!
//! let (answer, asked) = tokio::join!(context.needs_input("deploy", "to production?"), async {
//!     queue.answer("deploy", Decision::Approved, Some("go on"))
//! });
//! asked?;
//! assert_eq!(answer?.decision, Decision::Approved);
//! context.finish(Value::from("deployed"))?;
//!
//! let names: Vec<_> = queue.frames(Filter::default()).iter().map(|frame| frame.name().to_owned()).collect();
//! assert_eq!(names[..4], ["run_started", "step_started", "token", "step_finished"]);
//! assert_eq!(names[4..], ["needs_input", "input_recorded", "observation_recorded", "run_completed"]);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```

mod asking;
mod core;
mod emit;
mod error;
mod gate;
mod ledger;
mod queue;
mod service;
mod step;
mod surroundings;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use self::core::{Core, LastOneOut};
use self::ledger::{Ledger, Nowhere, check_reserved};
use self::queue::{Keeper, Kept};
use self::service::Service;
use crate::events::{Filter, Source};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::PrivateMembers;
use crate::evidence::envelope::limits::Limits;

pub use self::error::ContextError;
pub use self::gate::{Answer, Decision};
pub use self::queue::{Queue, QueueSettings};
pub use self::service::{ConnectError, Delivered, Report, ServiceSettings, SpoolSettings};
pub use self::step::{Step, StepStatus};
pub use self::surroundings::Surroundings;

tokio::task_local! {
    static CURRENT: RunContext;
}

/// The observation that a run's output is recorded as.
const OUTPUT: &str = "output";

/// A run that goes on; see [the module](self).
///
/// It is closed by [`finish`](Self::finish), [`fail`](Self::fail) or [`abort`](Self::abort). If the last context of a run and its last
/// step are dropped before, it is closed as failed, with that as the reason.
#[derive(Clone)]
pub struct RunContext {
    held: Arc<LastOneOut>,
    /// The hints that are passed on.
    filter: Filter,
}

impl RunContext {
    /// Starts a run that is kept in memory, without any service. `run` has the members of a run (`schemas/ENVELOPE.md`, section 3), of
    /// which only `project` is required; without a `run_id` it is called by its `evidence_id`, a fresh UUID.
    pub fn start(
        run: Object<'static>,
        surroundings: Surroundings,
        settings: &QueueSettings,
    ) -> Result<(Self, Queue), ContextError> {
        let (run, evidence_id) = named(run, &surroundings)?;
        let own = |member| run.text(member).unwrap_or_default().to_owned();
        let source =
            Source { run_id: own("run_id"), evidence_id, project: own("project"), withholds_logs: false };
        let private = settings.private.clone();
        let kept = Arc::new(Mutex::new(Kept::new(source, private.clone())));
        let keeper = Box::new(Keeper(kept.clone()));
        let core = Core::new(Ledger::begin(run, surroundings, private, settings.limits(), keeper)?, None);
        let context = Self { held: Arc::new(LastOneOut(core.clone())), filter: Filter::default() };
        Ok((context, Queue { core, kept }))
    }

    /// Starts a run that is reported to a service, which need not be there yet: a thread of its own opens the run and sends what is
    /// recorded, in order, each thing once, and keeps in the spool what is not acknowledged. `run` is as in [`start`](Self::start). The
    /// key of the spool is read or made here. [`Report::finish`] is to be awaited: what is not sent and not in the spool is lost when the
    /// process ends.
    pub fn connect(
        run: Object<'static>,
        surroundings: Surroundings,
        settings: &ServiceSettings,
    ) -> Result<(Self, Report), ConnectError> {
        let (run, _) = named(run, &surroundings)?;
        let begin = |run, sink| {
            Ledger::begin(run, surroundings.clone(), PrivateMembers::default(), Limits::default(), sink)
        };
        // For a run that can never be recorded there is no thread.
        begin(run.clone(), Box::new(Nowhere))?;
        let service = Service::begin(&run, &surroundings, settings)?;
        let (sink, reporter) = (service.sink(settings), service.reporter.clone());
        let core = Core::new(begin(run, Box::new(sink))?, Some(service));
        let context = Self { held: Arc::new(LastOneOut(core.clone())), filter: Filter::default() };
        Ok((context, Report::of(core, reporter)))
    }

    /// The same run, of which only these hints are passed on. What is recorded is not filtered.
    pub fn filtered(&self, filter: Filter) -> Self {
        Self { held: self.held.clone(), filter }
    }

    /// Whether a hint of that name, like `token` or `custom:draft`, is passed on: one that is not need not be made.
    pub fn is_allowed(&self, name: &str) -> bool {
        self.filter.is_allowed(name)
    }

    /// Runs a future in which this is the [`current`](Self::current) context. Tasks that it spawns have none unless they are scoped too:
    /// `tokio::spawn(context.scope(…))`.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), future)
    }

    /// The context that this runs in, if it runs in one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Whether somebody asked the run to stop.
    pub fn is_cancelled(&self) -> bool {
        self.core().is_aborting()
    }

    /// Returns once somebody asked the run to stop; the program is then to end what it does, and to [`abort`](Self::abort) the run.
    /// May be dropped and asked again.
    pub async fn cancelled(&self) {
        self.core().aborting().await;
    }

    /// Closes the run as succeeded. `output` is recorded before, as the observation `output`; `Value::Null` is none. Steps that go on are
    /// recorded as incomplete.
    ///
    /// What is recorded may contradict that: a step whose last attempt did not pass and that was not allowed to fail, a gate that was not
    /// approved, a planned step that is missing. Then nothing is recorded (`result_contradicted`), and the run is open still.
    pub fn finish(&self, output: Value<'static>) -> Result<(), ContextError> {
        let members = [("observation_id", OUTPUT.into()), ("name", OUTPUT.into()), ("value", output)];
        let mut output = Object::from_iter(members);
        output.insert("basis_artifact_ids", Vec::<String>::new());
        let output = Some(output).filter(|output| output.get("value") != Some(&Value::Null));
        self.core().ledger().close("succeeded", None, output)
    }

    /// Closes the run as failed; `reason` is at most 64 KiB. Steps that go on are recorded as incomplete.
    pub fn fail(&self, reason: &str) -> Result<(), ContextError> {
        self.core().ledger().close("failed", Some(reason), None)
    }

    /// Closes the run as aborted; `reason` is at most 64 KiB. Steps that go on are recorded as incomplete.
    pub fn abort(&self, reason: &str) -> Result<(), ContextError> {
        self.core().ledger().close("aborted", Some(reason), None)
    }

    fn core(&self) -> &Core {
        &self.held.0
    }
}

/// A run with a name, and its `evidence_id`.
fn named(
    mut run: Object<'static>,
    surroundings: &Surroundings,
) -> Result<(Object<'static>, String), ContextError> {
    check_reserved(&run)?;
    let evidence_id = surroundings.uuid_v7();
    if run.get("run_id").is_none() {
        run.insert("run_id", evidence_id.clone());
    }
    run.insert("evidence_id", evidence_id.clone());
    Ok((run, evidence_id))
}

impl fmt::Debug for RunContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunContext").field("filter", &self.filter).finish_non_exhaustive()
    }
}
