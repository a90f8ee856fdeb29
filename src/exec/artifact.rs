//! A file that a step made, recorded by its digest.

use std::io;
use std::path::PathBuf;

use super::names::path_id;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;
use crate::files::digest_file;

/// A file to record, under this id or under one made of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactFile {
    pub(crate) artifact_id: Option<String>,
    pub(crate) path: PathBuf,
}

impl ArtifactFile {
    pub(crate) fn artifact_id(&self) -> String {
        self.artifact_id.clone().unwrap_or_else(|| path_id(&self.path.to_string_lossy(), "artifact"))
    }

    /// The members of the artifact element.
    pub(crate) fn members(&self, step_id: Option<&str>) -> io::Result<Object<'static>> {
        let (digest, size) = digest_file(&self.path)?;
        Ok(self.described(digest, size, step_id))
    }

    /// The members of the artifact element of a file whose bytes are known.
    pub(super) fn described(&self, digest: Digest, size: u64, step_id: Option<&str>) -> Object<'static> {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut members = Object::from_iter([
            ("artifact_id", self.artifact_id().into()),
            ("digest", digest.into()),
            ("content_uri", format!("urn:{digest}").into()),
            ("name", name.into()),
            ("size", Value::count(size)),
        ]);
        if let Some(step_id) = step_id {
            members.insert("step_id", step_id.to_owned());
        }
        members
    }
}
