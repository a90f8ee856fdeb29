//! `run open`.

use clap::Args;

use super::super::exec::parse_label;
use super::super::exit::{Failure, answer, answer_json};
use super::super::server::ServerArguments;
use crate::evidence::canonical::Object;
use crate::exec::{Subject, default_project, described};

#[derive(Args)]
pub(super) struct OpenArguments {
    /// Project (default: owner and name of the git remote, else the directory)
    #[arg(long, value_name = "NAME", env = "SEALSTONE_PROJECT")]
    project: Option<String>,
    /// Name of the run, unique in the project; the same again finds the same run (default: a fresh UUID)
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// What was asked for, in words
    #[arg(long, value_name = "TEXT")]
    intent: Option<String>,
    /// A label of the run; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// A step that has to be recorded before the run can succeed; repeatable
    #[arg(long, value_name = "STEP_ID")]
    plan: Vec<String>,
    /// Say nothing of the git checkout
    #[arg(long)]
    no_subject: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &OpenArguments) -> Result<u8, Failure> {
    let subject = match arguments.no_subject {
        true => None,
        false => Subject::of_current_directory().map_err(|why| {
            Failure::usage(format!("the checkout cannot be told of; git says: {why}; see --no-subject"))
        })?,
    };
    let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    let mut members: Object<'static> =
        described(ci, subject.as_ref(), arguments.intent.as_deref(), &arguments.label);
    let directory = std::env::current_dir().unwrap_or_default();
    let project = arguments.project.clone().filter(|project| !project.is_empty());
    members.insert("project", project.unwrap_or_else(|| default_project(subject.as_ref(), &directory)));
    if let Some(run_id) = &arguments.run_id {
        members.insert("run_id", run_id.clone());
    }
    if !arguments.plan.is_empty() {
        members.insert("plan", arguments.plan.clone());
    }
    let opened = arguments.server.ask(|client| async move { client.open_run(&members).await })?;
    match arguments.json {
        false => answer(&format!("{}\n", opened.evidence_id))?,
        true => {
            let json = serde_json::json!({
                "run_id": opened.run_id, "evidence_id": opened.evidence_id, "project": opened.project, "head": opened.head,
            });
            answer_json(&format!("{json}\n"))?
        }
    }
    Ok(0)
}
