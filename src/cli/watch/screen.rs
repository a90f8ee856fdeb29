//! What a person sees meanwhile: a line for what is over, below them a spinner for what is not. Without a terminal, lines alone.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use super::super::machine;
use super::words::{progress, text, told};
use crate::evidence::time::Timestamp;

const TICK: Duration = Duration::from_millis(120);

pub(super) struct Screen {
    run: String,
    /// Hidden where there is no terminal.
    bars: MultiProgress,
    running: BTreeMap<Running, ProgressBar>,
    /// What was told last of how far it is, where each is a line.
    last_progress: String,
}

/// What is not over.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Running {
    Gate(String),
    Step(String),
    Run,
}

impl Screen {
    pub(super) fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            bars: MultiProgress::new(),
            running: BTreeMap::new(),
            last_progress: String::new(),
        }
    }

    pub(super) fn tell(&mut self, event: &Value) {
        let is_terminal = !self.bars.is_hidden();
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let step = || Running::Step(text(event, "step_id"));
        let gate = || Running::Gate(text(event, "gate_id"));
        match kind {
            "run_started" => self.begin(Running::Run, event, "running".into()),
            // On a terminal the spinner tells it.
            "step_started" if is_terminal => return self.begin(step(), event, String::new()),
            "needs_input" => self.begin(gate(), event, "waits for an answer".into()),
            "step_finished" => self.end(&step()),
            "input_recorded" => self.end(&gate()),
            "run_completed" | "run_failed" | "run_aborted" | "run_expired" => self.end_all(),
            "progress" => return self.progress(event, is_terminal),
            _ => {}
        }
        if let Some(lines) = told(event, &self.run) {
            self.say(&lines);
        }
    }

    fn say(&self, lines: &str) {
        self.bars.suspend(|| super::super::style::say(lines));
    }

    fn progress(&mut self, event: &Value, is_terminal: bool) {
        let progress = progress(event);
        let of = event.get("step_id").map_or(Running::Run, |_| Running::Step(text(event, "step_id")));
        if is_terminal {
            if let Some(bar) = self.running.get(&of) {
                bar.set_message(progress);
            }
        } else if !progress.is_empty() && progress != self.last_progress {
            self.say(&format!("  {} {progress}", of.name()));
            self.last_progress = progress;
        }
    }

    fn begin(&mut self, running: Running, event: &Value, message: String) {
        self.end(&running);
        let bar = self.bars.add(ProgressBar::no_length().with_elapsed(since(event)));
        let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg}");
        bar.set_style(style.unwrap_or(ProgressStyle::default_spinner()));
        bar.set_prefix(running.name().to_owned());
        bar.set_message(message);
        if !self.bars.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        self.running.insert(running, bar);
    }

    fn end(&mut self, running: &Running) {
        if let Some(bar) = self.running.remove(running) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn end_all(&mut self) {
        for running in self.running.keys().cloned().collect::<Vec<_>>() {
            self.end(&running);
        }
    }
}

impl Running {
    fn name(&self) -> &str {
        match self {
            Running::Gate(name) | Running::Step(name) => name,
            Running::Run => "run",
        }
    }
}

impl Drop for Screen {
    /// Nothing of it is in the way of the verdict.
    fn drop(&mut self) {
        self.end_all();
    }
}

/// How long ago it was recorded, by two clocks that are not the same.
fn since(event: &Value) -> Duration {
    let at = event.get("at").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
    let ms = at.map(|at| machine::now().unix_ms().saturating_sub(at.unix_ms()));
    Duration::from_millis(ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default())
}
