//! A run's journal: what may be recorded in a run, decided by what was recorded before.
//!
//! Pure: records, moments and randomness come in, records and answers go out. A run's state is a fold of its records and
//! nothing else, so that whoever reads the journal back stands where the one before stood.

mod body;
mod decide;
mod entry;
mod erasure;
mod expiry;
mod masks;
mod opening;
mod recording;
mod redacted;
mod refusal;
mod repeat;
mod request;
mod reserved;
mod run;
mod settings;
mod standing;

pub use body::{Body, JournalRecord, KeyUse, Notice, NoticeKind, Pos, Receipt};
pub use entry::Entry;
pub use erasure::{Erased, erase};
pub use expiry::{Due, Periods, logs_due};
pub use masks::{Hit, MAX_RULES, Masks, Rule, RuleFault, RuleFaultReason};
pub use opening::Opening;
pub use redacted::Redacted;
pub use refusal::Refusal;
pub use request::{Abort, Answer, Append, Around, Close, GateDecision, LogSummary, NewGate, Resolution};
pub use run::{GateState, OpenGate, PendingStep, Run};
pub use settings::{MAX_POINTER_BYTES, MAX_POINTERS, Settings, SettingsFault, TakenSignals, pointers};
pub use standing::{Counts, Overview, Standing, State};
