//! `/v1/projects/{project}`: what a project has settled.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json};
use super::body;
use super::guard::By;
use super::openapi::schema::{either, maybe, object, one_of, period, pointer, refer, some};
use super::openapi::{Operation, Refusals};
use super::path::Path;
use super::problem::Problem;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::NotPrivate;
use crate::evidence::envelope::limits::is_path_id;
use crate::journal::Settings;
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
    body::check_known(&members, &["private", "public", "max_run_duration", "idle_timeout"])?;
    let defaults = Settings::default();
    let settings = Settings {
        private: pointers(&members, "private")?.unwrap_or(defaults.private),
        public: pointers(&members, "public")?.unwrap_or(defaults.public),
        max_run_duration: seconds(&members, "max_run_duration")?,
        idle_timeout: seconds(&members, "idle_timeout")?,
    };
    let wrong = |member: &'static str| move |error: NotPrivate| body::invalid(member, &error.to_string());
    settings.private_members().map_err(wrong("private"))?;
    settings.public_members().map_err(wrong("public"))?;
    service.settle_project(&caller, &project, settings.clone()).await?;
    Ok(json(StatusCode::OK, &settings))
}

pub(super) fn about_settle() -> Operation {
    let pointers = || either(some(0, MAX_POINTERS, pointer()), one_of(["*"]));
    let settings = maybe(
        object([]),
        [
            ("private", pointers()),
            ("public", pointers()),
            ("max_run_duration", period()),
            ("idle_timeout", period()),
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

/// How many pointers a project may settle; `*` in them stands for any index.
const MAX_POINTERS: usize = 128;

/// A list of pointers, or `"*"`.
fn pointers(members: &Object<'_>, member: &str) -> Result<Option<Vec<String>>, Problem> {
    let wrong = || body::invalid(member, "a list of pointers, or \"*\" expected");
    match members.get(member) {
        None => Ok(None),
        Some(Value::Text(all)) if all == "*" => Ok(Some(vec!["*".into()])),
        Some(Value::List(list)) => {
            if list.len() > MAX_POINTERS {
                return Err(body::invalid(member, "at most 128 pointers expected"));
            }
            let texts =
                list.iter().map(|text| text.as_text().filter(|text| text.len() <= 512).map(str::to_owned));
            texts.collect::<Option<Vec<String>>>().map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
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
