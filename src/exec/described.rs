//! What a run says of itself: who reports it, where it runs, what it is about.

use super::subject::Subject;
use crate::evidence::canonical::Object;

/// The members `producer`, `runner_context`, `subject`, `intent` and `labels` of a run.
pub(crate) fn described(
    ci: bool,
    subject: Option<&Subject>,
    intent: Option<&str>,
    labels: &[(String, String)],
) -> Object<'static> {
    let mut run = Object::new();
    let version = env!("CARGO_PKG_VERSION");
    run.insert("producer", Object::from_iter([("name", "sealstone"), ("version", version)]));
    let runner_type = if ci { "ci" } else { "local" };
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    run.insert(
        "runner_context",
        Object::from_iter([("runner_type", runner_type), ("os", os), ("arch", arch)]),
    );
    if let Some(subject) = subject {
        run.insert("subject", subject.member());
    }
    if let Some(intent) = intent {
        run.insert("intent", intent.to_owned());
    }
    if !labels.is_empty() {
        run.insert("labels", labels.iter().cloned().collect::<Object<'_>>());
    }
    run
}
