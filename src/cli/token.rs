//! `sealstone token`: who may ask the service for what.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::exit::{CANNOT_WRITE, Failure, answer, answer_json};
use super::machine;
use super::quantity::Period;
#[cfg(feature = "client")]
use super::server::ServerArguments;
use super::style::{FAINT, RESET, say};
#[cfg(feature = "client")]
use super::style::{STRONG, printable};
#[cfg(feature = "client")]
use crate::evidence::canonical::Object;
use crate::evidence::time::Timestamp;
use crate::service::{Gatekeeper, Role, Scope, Secret, ServiceError, Token};
use crate::store::directory::DataDirectory;

/// Makes, lists and forgets tokens: through a running service (--server, with an admin's token), or, to make the first one, in
/// the data directory of one that does not run (--data-dir).
#[derive(Args)]
pub(super) struct TokenArguments {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token; prints it, this once
    Create(CreateArguments),
    /// List the tokens
    #[cfg(feature = "client")]
    List(ListArguments),
    /// Forget a token: it lets nobody in any more
    #[cfg(feature = "client")]
    Delete(DeleteArguments),
}

#[derive(Args)]
struct CreateArguments {
    /// Whose it is; stands in what is recorded with it
    #[arg(value_name = "NAME")]
    name: String,
    /// writer, approver, reader, auditor or admin
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// A project, prefix/* or *; repeatable (default: *)
    #[arg(long, value_name = "NAME")]
    project: Vec<String>,
    /// How long it counts (default: until it is deleted)
    #[arg(long, value_name = "PERIOD")]
    expires: Option<Period>,
    /// Write it into the data directory of a service that does not run
    #[cfg_attr(feature = "client", arg(long, value_name = "DIR"))]
    #[cfg_attr(not(feature = "client"), arg(long, value_name = "DIR", required = true))]
    data_dir: Option<PathBuf>,
    /// Print what is known of it as JSON
    #[arg(long)]
    json: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: ServerArguments,
}

#[cfg(feature = "client")]
#[derive(Args)]
struct ListArguments {
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[cfg(feature = "client")]
#[derive(Args)]
struct DeleteArguments {
    /// Its id, from `token list`
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &TokenArguments) -> Result<u8, Failure> {
    match &arguments.command {
        TokenCommand::Create(arguments) => create(arguments),
        #[cfg(feature = "client")]
        TokenCommand::List(arguments) => list(arguments),
        #[cfg(feature = "client")]
        TokenCommand::Delete(arguments) => {
            let id = arguments.id.clone();
            arguments.server.ask(|client| async move { client.delete_token(&id).await })?;
            Ok(0)
        }
    }
}

fn create(arguments: &CreateArguments) -> Result<u8, Failure> {
    let expires_at = arguments
        .expires
        .map(|period| Timestamp::from_unix_ms(machine::now().unix_ms().saturating_add(period.ms)));
    let created = match &arguments.data_dir {
        Some(data_dir) => create_offline(arguments, expires_at, data_dir)?,
        None => ask(arguments, expires_at)?,
    };
    if arguments.json {
        answer_json(&format!("{created}\n"))?;
    } else {
        let token = created.get("token").and_then(serde_json::Value::as_str).unwrap_or_default();
        answer(&format!("{token}\n"))?;
        say(format_args!("{FAINT}it is shown this once; who has it may do what it may{RESET}"));
    }
    Ok(0)
}

/// Asks a service that runs.
#[cfg(feature = "client")]
fn ask(arguments: &CreateArguments, expires_at: Option<Timestamp>) -> Result<serde_json::Value, Failure> {
    let (name, role) = (arguments.name.clone(), arguments.role.as_str().to_owned());
    let mut members = Object::from_iter([("name", name), ("role", role)]);
    if !arguments.project.is_empty() {
        members.insert("projects", arguments.project.clone());
    }
    if let Some(end) = expires_at {
        members.insert("expires_at", end);
    }
    arguments.server.ask(|client| async move { client.create_token(&members).await })
}

#[cfg(not(feature = "client"))]
fn ask(_: &CreateArguments, _: Option<Timestamp>) -> Result<serde_json::Value, Failure> {
    Err(Failure::usage("this build asks no service; name a --data-dir"))
}

/// Writes a token where no service runs.
fn create_offline(
    arguments: &CreateArguments,
    expires_at: Option<Timestamp>,
    data_dir: &Path,
) -> Result<serde_json::Value, Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::new(CANNOT_WRITE, why);
    if !Token::is_name(&arguments.name) {
        return Err(Failure::usage("a name is 1–64 of A–Z a–z 0–9 . _ : -, first a letter or digit"));
    }
    let scope = match arguments.project.as_slice() {
        [] => Scope::all(),
        projects => Scope::parse(projects.iter().cloned()).map_err(|wrong| {
            Failure::usage(format!("{wrong:?} is no project; *, names or prefix/* expected"))
        })?,
    };
    let directory = DataDirectory::open(data_dir).map_err(|error| failed(&error))?;
    let store = directory.store_as_it_is().map_err(|error| failed(&error))?;
    let gatekeeper = Gatekeeper::open(Arc::new(store), None).map_err(|error| failed(&error))?;
    let secret = Secret::new(&machine::random());
    let created_at = machine::now();
    let ms = u64::try_from(created_at.unix_ms()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &machine::random()).into_uuid().to_string();
    let token = Token {
        id,
        name: arguments.name.clone(),
        role: arguments.role,
        scope,
        created_at,
        expires_at,
        digest: None,
    };
    let mut shown = serde_json::json!(token);
    gatekeeper.create(&secret, token).map_err(|error| match error {
        ServiceError::FirstToken => Failure::usage(error),
        error => failed(&error),
    })?;
    if let Some(members) = shown.as_object_mut() {
        members.insert("token".into(), secret.show().into());
    }
    Ok(shown)
}

#[cfg(feature = "client")]
fn list(arguments: &ListArguments) -> Result<u8, Failure> {
    let listed = arguments.server.ask(|client| async move { client.tokens().await })?;
    if arguments.json {
        answer_json(&format!("{listed}\n"))?;
        return Ok(0);
    }
    let text = |token: &serde_json::Value, member: &str| {
        printable(token.get(member).and_then(serde_json::Value::as_str).unwrap_or_default())
    };
    let mut out = String::new();
    for token in listed.get("tokens").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let projects =
            token.get("projects").map(|projects| printable(&projects.to_string())).unwrap_or_default();
        let until = text(token, "expires_at");
        let until = if until.is_empty() { String::new() } else { format!("  until {until}") };
        out += &format!(
            "{STRONG}{}{RESET}  {}  {}  {projects}{until}\n",
            text(token, "id"),
            text(token, "name"),
            text(token, "role")
        );
    }
    answer(&out)?;
    Ok(0)
}
