//! What a run says of itself: who reports it, where it runs, what it is about, why.

use super::detect::Detected;
use crate::evidence::canonical::Object;

/// What a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One job, with its name and its machine.
    Job,
    /// The jobs of a pipeline: nothing is said that is another in each, for each of them may open the run.
    Pipeline,
}

/// The members `producer`, `runner_context`, `subject`, `trigger`, `intent` and `labels` of a run.
pub(crate) fn described(
    detected: &Detected,
    reach: Reach,
    intent: Option<&str>,
    labels: &[(String, String)],
) -> Object<'static> {
    let mut run = Object::new();
    let version = env!("CARGO_PKG_VERSION");
    run.insert("producer", Object::from_iter([("name", "sealstone"), ("version", version)]));
    // Where there is no pipeline there is one job.
    let of_job = reach == Reach::Job || !detected.ci;
    let mut runner = Object::from_iter([("runner_type", if detected.ci { "ci" } else { "local" })]);
    if of_job {
        runner.insert("os", std::env::consts::OS);
        runner.insert("arch", std::env::consts::ARCH);
    }
    run.insert("runner_context", runner);
    if let Some(subject) = &detected.subject {
        run.insert("subject", subject.member());
    }
    if let Some(trigger) = &detected.trigger {
        run.insert("trigger", trigger.clone());
    }
    if let Some(intent) = intent {
        run.insert("intent", intent.to_owned());
    }
    let mut labels: Object<'static> = labels.iter().cloned().collect();
    if let (true, Some(job), None) = (of_job, &detected.job, labels.get("job")) {
        labels.insert("job", job.clone());
    }
    if !labels.is_empty() {
        run.insert("labels", labels);
    }
    run
}
