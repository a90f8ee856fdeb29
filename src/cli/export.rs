//! `sealstone export`: the sealed envelopes of a service in one tar, with its keyring.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tar::{Builder, EntryType, Header};

use super::exit::{CANNOT_WRITE, Failure, answer, answer_json};
use super::server::ServerArguments;
use super::style::{FAINT, GOOD, RESET, bytes, say};
use crate::client::{Client, ClientError, RunSummary};
use crate::evidence::envelope::RESULTS;
use crate::evidence::envelope::limits::is_path_id;
use crate::evidence::time::Timestamp;
use crate::files::Draft;

/// How many runs are asked for at once.
const PAGE: &str = "100";

/// Exports sealed envelopes with all that is withheld in them, for auditors: a tar with `keyring.json` first, then a file for each
/// run, `PROJECT.EVIDENCE_ID.json` with / as _. Asks for the token of an auditor or an admin. It is written as it came: `verify` says
/// what it is worth.
#[derive(Args)]
#[command(after_help = EXPORT_HELP)]
pub(super) struct ExportArguments {
    /// The file to write, or - for standard output
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Runs of this project only
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Runs that ended so only: succeeded, failed, aborted or expired
    #[arg(long, value_name = "RESULT", value_parser = clap::builder::PossibleValuesParser::new(RESULTS))]
    result: Option<String>,
    /// Runs opened after that moment only, like 2026-11-21T08:00:00.000Z
    #[arg(long, value_name = "TIME", value_parser = |text: &str| text.parse::<Timestamp>().map_err(|error| error.to_string()))]
    since: Option<Timestamp>,
    /// Print what was written as JSON; on standard error with --out -
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

const EXPORT_HELP: &str = "\
Example:
  sealstone export --out evidence.tar
  mkdir evidence && tar -xf evidence.tar -C evidence
  sealstone verify evidence --keys keyring.json      # the keyring that you got on another way than the tar";

/// Where the tar goes.
enum Out {
    Draft(Draft, BufWriter<File>),
    Nowhere,
    Stdout(BufWriter<Stdout>),
}

pub(super) fn run(arguments: &ExportArguments) -> Result<u8, Failure> {
    let name = arguments.out.display();
    let cannot_write = |error| Failure::new(CANNOT_WRITE, format!("cannot write {name}: {error}"));
    let to_stdout = arguments.out == Path::new("-");
    let out = if to_stdout { Ok(Out::stdout()) } else { Out::draft(&arguments.out) };
    let mut archive = Builder::new(out.map_err(cannot_write)?);
    let exported = arguments.server.ask(async |client| export(&client, arguments, &mut archive).await);
    if exported.is_err() {
        // Dropped, the archive writes its end: what is not whole must not look so.
        *archive.get_mut() = Out::Nowhere;
    }
    let exported = exported?;
    archive.into_inner().and_then(Out::keep).map_err(cannot_write)?;
    let told =
        serde_json::json!({ "envelopes": exported.envelopes, "bytes": exported.bytes, "out": arguments.out });
    match (arguments.json, to_stdout) {
        (true, true) => say(format_args!("{told}")),
        (true, false) => answer_json(&format!("{told}\n"))?,
        (false, true) => say(format_args!("{FAINT}{}{RESET}", exported.in_words())),
        (false, false) => answer(&format!("{GOOD}exported{RESET}: {}\n", exported.in_words()))?,
    }
    Ok(0)
}

/// How much was written.
#[derive(Default)]
struct Exported {
    envelopes: u64,
    bytes: u64,
}

impl Exported {
    fn in_words(&self) -> String {
        format!("{} sealed envelopes, {}, and the keyring", self.envelopes, bytes(self.bytes))
    }
}

async fn export(
    client: &Client,
    arguments: &ExportArguments,
    archive: &mut Builder<impl Write>,
) -> Result<Exported, ClientError> {
    let runs = sealed_runs(client, arguments).await?;
    // After the list: by now every key that sealed one of them is in it.
    put(archive, "keyring.json", 0, &client.keys().await?)?;
    let bar = ProgressBar::new(runs.len() as u64);
    let template = "{spinner} {pos} of {len} envelopes, {per_sec}, {eta} left {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_spinner()));
    let mut exported = Exported::default();
    for (name, run) in runs {
        let file = client.full_envelope(&run.evidence_id).await?;
        put(archive, &name, run.closed_at.map_or(0, Timestamp::unix_ms), &file)?;
        exported.envelopes = exported.envelopes.saturating_add(1);
        exported.bytes = exported.bytes.saturating_add(file.len() as u64);
        bar.set_position(exported.envelopes);
        bar.set_message(bytes(exported.bytes));
    }
    bar.finish_and_clear();
    Ok(exported)
}

/// All that are wanted, each with its name in the tar.
async fn sealed_runs(
    client: &Client,
    arguments: &ExportArguments,
) -> Result<Vec<(String, RunSummary)>, ClientError> {
    let since = arguments.since.map(|since| since.to_string());
    let mut query = vec![("state", "sealed"), ("limit", PAGE)];
    let wanted = [("project", &arguments.project), ("result", &arguments.result), ("opened_after", &since)];
    query.extend(wanted.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
    let (mut runs, mut cursor): (Vec<(String, RunSummary)>, Option<String>) = (Vec::new(), None);
    let (mut seen, mut names) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let asked: Vec<_> =
            query.iter().copied().chain(cursor.as_deref().map(|next| ("cursor", next))).collect();
        let page = client.runs(&asked).await?;
        for run in page.runs {
            let name = file_name(&run)?;
            if names.insert(name.clone()) {
                runs.push((name, run));
            }
        }
        match page.next {
            None => return Ok(runs),
            Some(next) if !seen.insert(next.clone()) => {
                return Err(ClientError::Answer { why: "its list of runs does not move on".into() });
            }
            next => cursor = next,
        }
    }
}

/// A name that leads nowhere else, whatever the service says.
fn file_name(run: &RunSummary) -> Result<String, ClientError> {
    let id = uuid::Uuid::parse_str(&run.evidence_id).ok().map(|id| id.to_string());
    match id.filter(|id| *id == run.evidence_id && is_path_id(&run.project)) {
        Some(id) => Ok(format!("{}.{id}.json", run.project.replace('/', "_"))),
        None => Err(ClientError::Answer { why: "its list of runs has one without a proper name".into() }),
    }
}

fn put(archive: &mut Builder<impl Write>, name: &str, at_ms: i64, file: &[u8]) -> Result<(), ClientError> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(at_ms).unwrap_or_default() / 1_000);
    header.set_size(file.len() as u64);
    let written = archive.append_data(&mut header, name, file);
    written.map_err(|error| ClientError::Kept { why: error.to_string() })
}

impl Out {
    fn stdout() -> Self {
        Out::Stdout(BufWriter::new(io::stdout()))
    }

    fn draft(path: &Path) -> io::Result<Self> {
        // For its owner alone: what is withheld is in it.
        let draft = Draft::new(path, 0o600)?;
        let file = BufWriter::with_capacity(1 << 20, draft.file.try_clone()?);
        Ok(Out::Draft(draft, file))
    }

    /// Under its name once it is whole.
    fn keep(mut self) -> io::Result<()> {
        self.flush()?;
        match self {
            Out::Draft(draft, _) => draft.keep(),
            Out::Nowhere | Out::Stdout(_) => Ok(()),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Out::Draft(_, file) => file.write(bytes),
            Out::Nowhere => Err(io::ErrorKind::BrokenPipe.into()),
            Out::Stdout(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Out::Draft(_, file) => file.flush(),
            Out::Nowhere => Ok(()),
            Out::Stdout(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_from_a_service_leads_out_of_the_tar() {
        let run = |project: &str, evidence_id: &str| RunSummary {
            evidence_id: evidence_id.into(),
            project: project.into(),
            closed_at: None,
        };
        let id = "0198c0de-0000-7000-8000-000000000000";
        assert_eq!(file_name(&run("acme/widget", id)), Ok(format!("acme_widget.{id}.json")));
        for project in ["", "..", "../x", "/etc", "a/../b", "a//b", ".hidden", "a\\b", "a\n", "é"] {
            assert!(file_name(&run(project, id)).is_err(), "{project:?}");
        }
        for evidence_id in
            ["", "..", "../../x", "0198C0DE-0000-7000-8000-000000000000", "0198c0de000070008000000000000000"]
        {
            assert!(file_name(&run("p", evidence_id)).is_err(), "{evidence_id:?}");
        }
    }
}
