//! `run open`.

use clap::Args;

use super::super::detected::detected;
use super::super::exec::{fresh_id, parse_label};
use super::super::exit::{Failure, answer, answer_json};
use super::super::style::{DOUBT, RESET, printable, say};
use super::ReportingArguments;
use crate::evidence::canonical::Object;
use crate::exec::{Detected, Reach, checkout, described};

#[derive(Args)]
#[command(after_help = OPEN_HELP)]
pub(super) struct OpenArguments {
    /// Project (default: owner and name of the repository, else the directory)
    #[arg(long, value_name = "NAME", env = "SEALSTONE_PROJECT")]
    project: Option<String>,
    /// Name of the run, unique in the project; the same again finds the same run (default: one that the jobs of
    /// the pipeline share, else a fresh UUID)
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
    /// Say nothing of the git checkout, and of the commit that the pipeline is of
    #[arg(long)]
    no_subject: bool,
    /// Print what the run would be opened with, and open nothing
    #[arg(long)]
    print: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reporting: ReportingArguments,
}

const OPEN_HELP: &str = "\
In a pipeline of GitHub Actions, GitLab CI, Buildkite, CircleCI, Azure Pipelines, Jenkins or Tekton each job gets the same
run, and the run says what triggered the pipeline: --print shows what is detected.";

pub(super) fn run(arguments: &OpenArguments) -> Result<u8, Failure> {
    let mut members = members(arguments)?;
    if arguments.print {
        answer_json(&format!("{}\n", members.canonical()))?;
        return Ok(0);
    }
    if members.get("run_id").is_none() {
        // Ours: it is known before the service answers.
        members.insert("run_id", fresh_id());
    }
    let text = |name| members.text(name).unwrap_or_default().to_owned();
    let run = format!("{}/{}", text("project"), text("run_id"));
    // A name that was detected is that of all jobs, of which another may have said something else.
    let join = arguments.run_id.is_none();
    let told = arguments.reporting.report(&run, |reporter| reporter.open(members, join))?.told;
    let Some(opened) = told.opened else {
        // By this name it is found once it is there.
        match arguments.json {
            false => answer(&format!("{run}\n"))?,
            true => answer_json(&format!("{}\n", serde_json::json!({ "run": run, "evidence_id": null })))?,
        }
        return Ok(0);
    };
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

fn members(arguments: &OpenArguments) -> Result<Object<'static>, Failure> {
    let detected = look(arguments.no_subject)?;
    let mut members = described(&detected, Reach::Pipeline, arguments.intent.as_deref(), &arguments.label);
    let project = arguments.project.clone().filter(|project| !project.is_empty());
    members.insert("project", project.unwrap_or(detected.project));
    if let Some(run_id) = arguments.run_id.clone().or(detected.run_id) {
        members.insert("run_id", run_id);
    }
    if !arguments.plan.is_empty() {
        members.insert("plan", arguments.plan.clone());
    }
    Ok(members)
}

/// A checkout that git does not tell of is an error where nothing else tells of the commit.
fn look(no_subject: bool) -> Result<Detected, Failure> {
    if no_subject {
        return Ok(Detected { subject: None, ..detected(None) });
    }
    let checkout = checkout();
    let why = checkout.as_ref().err().cloned();
    let detected = detected(checkout.ok().flatten());
    let Some(why) = why else { return Ok(detected) };
    let told = format!("the checkout cannot be told of; git says: {why}");
    if detected.subject.is_none() {
        return Err(Failure::usage(format!("{told}; see --no-subject")));
    }
    say(format_args!("{DOUBT}sealstone:{RESET} {}", printable(&told)));
    Ok(detected)
}
