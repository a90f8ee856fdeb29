//! Entries: recorded, durable, then answered.

use super::{Caller, Service, ServiceError};
use crate::append::{Ask, Done};
use crate::journal::Append;

impl Service {
    /// Records entries, all or none. Durable once it returns.
    pub(crate) async fn append(
        &self,
        evidence_id: &str,
        append: Append,
        bytes: usize,
        caller: &Caller,
    ) -> Result<Done, ServiceError> {
        Ok(self.lanes.ask(evidence_id, Ask::Append(append), bytes, caller.name()).await?)
    }
}
