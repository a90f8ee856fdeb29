//! `/v1/projects/{project}`: what a project has settled.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json};
use super::body;
use super::guard::By;
use super::openapi::schema::{any_text, either, id, maybe, object, one_of, period, private, refer, some};
use super::openapi::{Operation, Refusals};
use super::path::Path;
use super::problem::Problem;
use crate::events::{Filter, Preset};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::limits::is_path_id;
use crate::evidence::envelope::pointer;
use crate::journal::{self, MAX_RULES, Refusal, Rule, Settings, TakenSignals};
use crate::service::{Action, Service};

pub(super) async fn look(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(project): Path<String>,
) -> Answer {
    check_name(&project)?;
    Ok(json(StatusCode::OK, &service.project(&caller, &project).await?))
}

pub(super) fn about_look() -> Operation {
    Operation::new("getProject", "What a project has settled, or the defaults")
        .needs(Action::Read)
        .answers(200, "The settings.", body::JSON, refer("Settings"))
        .refuses_all(REFUSED)
}

/// What both may answer.
const REFUSED: Refusals = &[(404, &["project_not_found"]), (503, &["store_unavailable"])];

pub(super) async fn settle(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(project): Path<String>,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Administer)?;
    check_name(&project)?;
    let (members, _) = body::object(&headers, sent).await?;
    body::check_known(
        &members,
        &["private", "public", "max_run_duration", "idle_timeout", "log_retention", "redact", "signals"],
    )?;
    let defaults = Settings::default();
    let settings = Settings {
        private: pointers(&members, "private")?.unwrap_or(defaults.private),
        public: pointers(&members, "public")?.unwrap_or(defaults.public),
        max_run_duration: seconds(&members, "max_run_duration")?,
        idle_timeout: seconds(&members, "idle_timeout")?,
        log_retention: seconds(&members, "log_retention")?,
        redact: rules(&members)?,
        signals: signals(&members)?,
    };
    settings.masks().map_err(|fault| wrong_rule(&fault.pointer(), &fault))?;
    service.settle_project(&caller, &project, settings.clone()).await?;
    Ok(json(StatusCode::OK, &settings))
}

pub(super) fn about_settle() -> Operation {
    let rule_schema = maybe(
        object([("rule_id", id()), ("pattern", any_text())]),
        [("replacement", serde_json::json!({ "type": "string", "default": Rule::REPLACEMENT }))],
    );
    let settings = maybe(
        object([]),
        [
            ("private", private()),
            ("public", private()),
            ("max_run_duration", period()),
            ("idle_timeout", period()),
            ("log_retention", period()),
            ("redact", some(0, MAX_RULES, rule_schema)),
            (
                "signals",
                either(one_of(Preset::ALL.map(Preset::as_str)), some(0, MAX_TYPES, refer("SignalType"))),
            ),
        ],
    );
    Operation::new("putProject", "Settles it, for runs opened later")
        .about("What is left out has its default.")
        .needs(Action::Administer)
        .takes(settings)
        .or_nothing()
        .answers(200, "The settings.", body::JSON, refer("Settings"))
        .refuses_all(REFUSED)
        .refuses(422, &["member_invalid"])
}

fn check_name(project: &str) -> Result<(), Problem> {
    if is_path_id(project) {
        return Ok(());
    }
    Err(Problem::new(400, "path_invalid", format!("{project:?} is no name of a project")))
}

/// How many types of signals a project may name.
const MAX_TYPES: usize = 100;

/// A list of pointers, or `"*"`.
fn pointers(members: &Object<'_>, member: &str) -> Result<Option<Vec<String>>, Problem> {
    let read = members.get(member).map(journal::pointers).transpose();
    read.map_err(|fault| Refusal::from(fault.under(member)).into())
}

/// The redaction rules.
fn rules(members: &Object<'_>) -> Result<Vec<Rule>, Problem> {
    let list = match members.get("redact") {
        None => return Ok(Vec::new()),
        Some(Value::List(list)) if list.len() <= MAX_RULES => list,
        Some(_) => {
            return Err(body::invalid("redact", &format!("a list of at most {MAX_RULES} rules expected")));
        }
    };
    list.iter().enumerate().map(|(index, sent)| rule(sent, &format!("/{index}"))).collect()
}

/// One of them; `at` is where it stands among them.
fn rule(sent: &Value<'_>, at: &str) -> Result<Rule, Problem> {
    let sent = sent.as_object().ok_or_else(|| wrong_rule(at, &"an object expected"))?;
    let known = ["rule_id", "pattern", "replacement"];
    if let Some((name, _)) = sent.iter().find(|(name, _)| !known.contains(name)) {
        return Err(wrong_rule(&format!("{at}/{}", pointer::escape(name)), &"no such member here"));
    }
    let text = |member: &str, absent: Option<&str>| {
        let text = sent.get(member).map_or(absent, Value::as_text);
        text.map(str::to_owned).ok_or_else(|| wrong_rule(&format!("{at}/{member}"), &"text expected"))
    };
    Ok(Rule {
        rule_id: text("rule_id", None)?,
        pattern: text("pattern", None)?,
        replacement: text("replacement", Some(Rule::REPLACEMENT))?,
    })
}

fn wrong_rule(at: &str, why: &dyn std::fmt::Display) -> Problem {
    wrong_at(format!("/redact{at}"), why)
}

/// Which signals are taken: a preset, or a list of types.
fn signals(members: &Object<'_>) -> Result<Option<TakenSignals>, Problem> {
    let expected = "a preset (minimal, chat, debug, all), or a list of at most 100 of progress, token, heartbeat, and custom: with a name, expected";
    let settled = match members.get("signals") {
        None => return Ok(None),
        Some(Value::Text(preset)) => TakenSignals::Preset(preset.clone().into_owned()),
        Some(Value::List(list)) if list.len() <= MAX_TYPES => {
            let names = list.iter().map(|name| name.as_text().unwrap_or_default().to_owned());
            TakenSignals::Types(names.collect())
        }
        Some(_) => return Err(body::invalid("signals", expected)),
    };
    let Err(unknown) = Filter::of_signals(Some(&settled)) else { return Ok(Some(settled)) };
    let at = match &settled {
        TakenSignals::Types(names) => names.iter().position(|name| *name == unknown.name),
        TakenSignals::Preset(_) => None,
    };
    let at = at.map(|index| format!("/{index}")).unwrap_or_default();
    Err(wrong_at(format!("/signals{at}"), &expected))
}

fn wrong_at(at: String, why: &dyn std::fmt::Display) -> Problem {
    let mut problem = Problem::new(422, "member_invalid", format!("{at}: {why}"));
    problem.set_pointer(at);
    problem
}

fn seconds(members: &Object<'_>, member: &str) -> Result<Option<u32>, Problem> {
    let number = |value: &Value<'_>| value.as_count().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    match members.get(member) {
        None => Ok(None),
        Some(value) => match number(value) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(body::invalid(member, "a number of seconds, 1 or more, expected")),
        },
    }
}
