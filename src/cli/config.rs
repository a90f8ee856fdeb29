//! `sealstone.toml`: options that neither a flag nor a variable gives.
//!
//! They go in among the arguments as flags, so that they are read, and refused, as those are.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use super::exit::{Failure, NO_INPUT};
use super::input::read_regular;

/// The file that is read where none is named.
const FILE: &str = "sealstone.toml";
const MAX_FILE_BYTES: usize = 1 << 20;
/// Commands that read it. Not those that judge: a verdict depends on what the auditor gives, not on where they stand. `watch` has no
/// table: it takes the address of its service from there, and nothing that it judges by.
const COMMANDS: [&str; 6] = ["exec", "fetch", "run", "serve", "spool", "watch"];
/// Commands that have a table of their own in it.
const TABLES: [&str; 3] = ["exec", "run", "serve"];
/// Options beside the tables, for each of those commands that has them.
const SHARED: [&str; 3] = ["ca", "server", "token"];

/// The command, with the option that names the file where it is read.
pub(super) fn command(mut command: Command) -> Command {
    let option = || {
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .env("SEALSTONE_CONFIG")
            .global(true)
            .value_parser(ValueParser::path_buf())
            .help("Options that neither a flag nor a variable gives: server, token, ca, and tables [serve], [exec], [run] (default: sealstone.toml, where there is one)")
    };
    let is_built = |name: &&str| command.find_subcommand(name).is_some_and(|found| !found.is_hide_set());
    for name in COMMANDS.into_iter().filter(|name| is_built(name)).collect::<Vec<_>>() {
        command = command.mut_subcommand(name, |command| command.arg(option()));
    }
    command
}

/// The arguments, with those that the file adds.
pub(super) fn with_file(command: &Command, given: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    // A first look: what cannot be read is told at the second, by clap in its own words.
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(&given) else {
        return Ok(given);
    };
    let Some((name, of_command)) = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name)) else {
        return Ok(given);
    };
    let (chain, options, found) = leaf(command, (name, of_command));
    if found.try_get_one::<PathBuf>("config").is_err() {
        return Ok(given);
    }
    let Some((path, table)) = read(found.get_one::<PathBuf>("config"))? else { return Ok(given) };
    let refused = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    check_names(command, &table).map_err(refused)?;
    let own = table.get(name).and_then(Value::as_table);
    let shared = table.iter().filter(|(name, _)| SHARED.contains(&name.as_str()));
    let mut added = Vec::new();
    // An option of the command's own table goes before one beside the tables.
    let shared = shared.filter(|(name, _)| !own.is_some_and(|own| own.contains_key(*name)));
    for (option, value) in own.into_iter().flatten().chain(shared) {
        let arg = options.iter().find(|arg| arg.get_long() == Some(option));
        if let Some(arg) = arg.filter(|arg| !is_given(found, arg)) {
            added.extend(flags(option, arg, value).map_err(refused)?);
        }
    }
    Ok(insert(given, &chain, added))
}

/// The command that is asked for in the end: its names, its options, and what was read for it.
fn leaf<'m>(
    command: &Command,
    (name, mut matches): (&'m str, &'m ArgMatches),
) -> (Vec<&'m str>, Vec<Arg>, &'m ArgMatches) {
    let mut chain = vec![name];
    let mut found = command.find_subcommand(name);
    while let Some((name, inner)) = matches.subcommand() {
        chain.push(name);
        found = found.and_then(|command| command.find_subcommand(name));
        matches = inner;
    }
    (chain, found.map(options).unwrap_or_default(), matches)
}

/// The options of a command that a file can give.
fn options(command: &Command) -> Vec<Arg> {
    let is_option =
        |arg: &&Arg| arg.get_long().is_some_and(|long| !["config", "help", "version"].contains(&long));
    command.get_arguments().filter(is_option).cloned().collect()
}

/// What a flag gives, or a variable that is not empty, as CI systems like to set them.
fn is_given(matches: &ArgMatches, arg: &Arg) -> bool {
    let id = arg.get_id().as_str();
    match matches.value_source(id) {
        Some(ValueSource::CommandLine) => true,
        Some(ValueSource::EnvVariable) => {
            matches.get_raw(id).is_none_or(|mut values| values.any(|value| !value.is_empty()))
        }
        _ => false,
    }
}

/// The table in the file; `None` without a file, unless one was named.
fn read(named: Option<&PathBuf>) -> Result<Option<(PathBuf, Table)>, Failure> {
    let named = named.filter(|path| !path.as_os_str().is_empty());
    let path = match named {
        Some(path) => path.clone(),
        None if Path::new(FILE).exists() => PathBuf::from(FILE),
        None => return Ok(None),
    };
    let bytes = read_regular(&path, MAX_FILE_BYTES)?;
    // No line of the file is told: there may be a token in it.
    let wrong = |why: String| Failure::new(NO_INPUT, format!("{}: {why}", path.display()));
    if bytes.len() > MAX_FILE_BYTES {
        return Err(wrong("more than 1 MiB, which is no list of options".into()));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".into()))?;
    let table = text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        wrong(format!("not TOML, in line {line}"))
    })?;
    Ok(Some((path, table)))
}

/// Refuses names that are nothing here, so that none is passed over in silence.
fn check_names(command: &Command, table: &Table) -> Result<(), String> {
    let top: Vec<String> = TABLES.iter().chain(&SHARED).map(|name| (*name).to_owned()).collect();
    for (name, value) in table {
        check_name(name, &top, "")?;
        if !TABLES.contains(&name.as_str()) {
            continue;
        }
        let own = value.as_table().ok_or_else(|| format!("`{name}` is a table: [{name}]"))?;
        let found = command.find_subcommand(name).filter(|found| !found.is_hide_set());
        // What this build cannot do it cannot judge.
        let Some(found) = found else { continue };
        let all = std::iter::once(found).chain(found.get_subcommands()).flat_map(options);
        let known: Vec<String> = all.filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
        own.keys().try_for_each(|option| check_name(option, &known, &format!(" in [{name}]")))?;
    }
    Ok(())
}

fn check_name(name: &str, known: &[String], place: &str) -> Result<(), String> {
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    let nearest = known.iter().min_by_key(|known| distance(name, known)).map(String::as_str);
    Err(format!("no option `{name}`{place}; is `{}` meant?", nearest.unwrap_or_default()))
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, a) in a.chars().enumerate() {
        let (mut corner, mut left) = (i, i.saturating_add(1));
        let mut next = vec![left];
        for (b, above) in b.chars().zip(row.iter().skip(1)) {
            left = corner
                .saturating_add(usize::from(a != b))
                .min(left.saturating_add(1))
                .min(above.saturating_add(1));
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// An option as flags.
fn flags(option: &str, arg: &Arg, value: &Value) -> Result<Vec<OsString>, String> {
    let wrong = |expected: &str| format!("`{option}`: {expected} expected");
    if !arg.get_action().takes_values() {
        return match value {
            Value::Boolean(true) => Ok(vec![format!("--{option}").into()]),
            Value::Boolean(false) => Ok(Vec::new()),
            _ => Err(wrong("true or false")),
        };
    }
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    };
    let values: Option<Vec<String>> = match (value, arg.get_action()) {
        (Value::Array(values), ArgAction::Append) => values.iter().map(text).collect(),
        (value, _) => text(value).map(|text| vec![text]),
    };
    let values =
        values.ok_or_else(|| wrong("text or a number, or a list of them where the option is repeatable,"))?;
    Ok(values.into_iter().map(|value| format!("--{option}={value}").into()).collect())
}

/// Puts flags after the names of the command.
fn insert(mut given: Vec<OsString>, chain: &[&str], added: Vec<OsString>) -> Vec<OsString> {
    let mut after = 1_usize;
    for name in chain {
        // The file may be called like a command.
        let is_name = |pair: &[OsString]| matches!(pair, [before, name_here] if before != "--config" && name_here == OsStr::new(name));
        let place = given.get(after.saturating_sub(1)..).unwrap_or_default().windows(2).position(is_name);
        after = after.saturating_add(place.map_or(0, |place| place.saturating_add(1)));
    }
    let rest = given.split_off(after.min(given.len()));
    given.into_iter().chain(added).chain(rest).collect()
}
