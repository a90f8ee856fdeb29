//! Gates at a service: opened behind all that was told before, and asked for until somebody decides, also if nobody awaits it any more.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::core::Core;
use super::error::ContextError;
use super::gate::{Answer, Decision};
use super::ledger::Deciding;
use crate::client::report::Reporter;
use crate::client::{Client, ClientError, Gate};
use crate::evidence::canonical::Object;

/// How long a gate is waited for at a time.
const WAIT_S: u8 = 30;
/// The pause before a gate is asked for again that cannot be asked for now.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks in a thread of its own, until the gate is decided or the run is closed.
pub(super) fn ask(
    asker: Asker,
    gate: Object<'static>,
    core: Weak<Core>,
    deciding: Deciding,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = move || runtime.block_on(asker.ask(&gate, &core, deciding));
    thread::Builder::new().name("gate".into()).spawn(asked).map(drop)
}

pub(super) struct Asker {
    pub(super) client: Arc<Client>,
    pub(super) reporter: Reporter,
}

impl Asker {
    async fn ask(&self, gate: &Object<'static>, core: &Weak<Core>, mut deciding: Deciding) {
        let gate_id = gate.text("gate_id").unwrap_or_default();
        let run = tokio::select! {
            opened = self.open(gate) => opened,
            // Closed, or answered by somebody else.
            _ = deciding.wait_for(Option::is_some) => return,
        };
        let answer = match run {
            Ok(run) => tokio::select! {
                answer = self.answer(&run, gate_id) => answer,
                _ = deciding.wait_for(Option::is_some) => return,
            },
            Err(why) => {
                core.upgrade().iter().for_each(|core| core.ledger().withdraw_gate(gate_id, why.clone()));
                return;
            }
        };
        let Some(core) = core.upgrade() else { return };
        let mut ledger = core.ledger();
        if let Err(why) = answer.and_then(|answer| ledger.answer(gate_id, answer)) {
            ledger.give_up_gate(gate_id, why);
        }
    }

    /// Opens a gate, however long the service is away; the run that has it.
    async fn open(&self, gate: &Object<'static>) -> Result<String, ContextError> {
        loop {
            if !self.reporter.settled().await {
                let detail = "it does not take what was told before; what the report ends with says why";
                return Err(ContextError::GateRefused { code: "report_held".into(), detail: detail.into() });
            }
            let run = self.reporter.run();
            if unless_away(self.client.open_gate(&run, gate).await)?.is_some() {
                return Ok(run);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for the answer of a gate.
    async fn answer(&self, run: &str, gate_id: &str) -> Result<Answer, ContextError> {
        loop {
            let Some(gate) = unless_away(self.client.gate(run, gate_id, WAIT_S).await)? else {
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

/// `None` if it is to be asked again.
fn unless_away(answered: Result<Gate, ClientError>) -> Result<Option<Gate>, ContextError> {
    match answered {
        Ok(gate) => Ok(Some(gate)),
        Err(error) if Reporter::is_to_repeat(&error) => Ok(None),
        Err(ClientError::Refused { code, .. }) if code == "run_closed" => Err(ContextError::Closed),
        Err(ClientError::Refused { code, detail, .. }) => Err(ContextError::GateRefused { code, detail }),
        Err(error) => {
            Err(ContextError::GateRefused { code: "service_refused".into(), detail: error.to_string() })
        }
    }
}
