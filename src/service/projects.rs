//! Projects: what each has settled for the runs that are opened in it.

use super::{Action, Caller, Service, ServiceError};
use crate::journal::Settings;

impl Service {
    /// What a project has settled; the defaults where nobody has.
    pub(crate) async fn project(&self, caller: &Caller, project: &str) -> Result<Settings, ServiceError> {
        caller.check(Action::Read)?;
        if !caller.sees(project) {
            return Err(ServiceError::ProjectUnknown);
        }
        let project = project.to_owned();
        let found = self.read(move |store| store.settings(&project)).await?;
        Ok(found.unwrap_or_default())
    }

    /// Settles it, for runs that are opened from now on. Durable once it returns.
    pub(crate) async fn settle_project(
        &self,
        caller: &Caller,
        project: &str,
        settings: Settings,
    ) -> Result<(), ServiceError> {
        caller.check(Action::Administer)?;
        self.check_still(caller)?;
        if !caller.sees(project) {
            return Err(ServiceError::ProjectUnknown);
        }
        let project = project.to_owned();
        self.read(move |store| store.put_settings(&project, &settings)).await
    }
}
