//! `sealstone watch`: a run as it goes, and the verdict on what was sealed in the end.

mod screen;
mod seen;
mod words;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::timeout;

use self::screen::Screen;
use self::seen::Seen;
use super::exit::{Failure, UNREADABLE, answer_json};
use super::held::HeldArguments;
use super::server::ServerArguments;
use super::verify;
use crate::client::{Client, ClientError, Subscription};
use crate::evidence::verify::verify as judge;

/// What was streamed is not what was sealed.
const DIFFERS: u8 = 1;
/// Once the run is sealed, the lines of its steps are waited for no longer than this.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Follows a run until it is sealed, over restarts of the service too. What goes on is told on standard error. Then the envelope is
/// fetched and judged as `verify` does; what was streamed counts for nothing in that, but with --check.
#[derive(Args)]
#[command(after_help = WATCH_HELP)]
pub(super) struct WatchArguments {
    /// evidence_id or run_id
    #[arg(value_name = "RUN", env = "SEALSTONE_RUN")]
    run: String,
    /// Project of the run, where several have one of that run_id
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Which events are sent: minimal, chat, debug or all
    #[arg(long, value_name = "PRESET", conflicts_with = "types")]
    preset: Option<String>,
    /// Which events are sent, by name, like step_finished,needs_input; start and end of the run always are
    #[arg(long, value_name = "NAME,…")]
    types: Option<String>,
    /// Show what the steps write, too
    #[arg(long)]
    logs: bool,
    /// Print the data of each event as a line of JSON, and in the end the report
    #[arg(long)]
    json: bool,
    /// Reject the envelope if an element in it is not the one that was streamed, by seq and entry_hash
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    held: HeldArguments,
    #[command(flatten)]
    server: ServerArguments,
}

const WATCH_HELP: &str = "\
Example:
  sealstone watch $SEALSTONE_RUN --keys keyring.json --check

Exit status: that of `sealstone verify` (0 verified, 1 rejected, 3 integrity only: no keyring was given), also
  1 the service refused   64 wrong arguments   66 cannot read   69 the service is away";

pub(super) fn run(arguments: &WatchArguments) -> Result<u8, Failure> {
    // Before anything is waited for; the files may come to be meanwhile.
    let keyring = arguments.held.keyring()?;
    let (seen, file) = arguments.server.ask(async |client| {
        let seen = follow(&client, arguments).await?;
        let file = client.envelope(seen.evidence_id().unwrap_or(&arguments.run)).await?;
        Ok((seen, file))
    })?;
    let mut held = arguments.held.with(keyring)?;
    if arguments.check {
        seen.expect_in(&mut held);
    }
    let judged = judge(&file, &held);
    let status = verify::tell(judged.report(), &held, arguments.json)?;
    if !arguments.check || status == UNREADABLE {
        return Ok(status);
    }
    let is_filtered = arguments.preset.is_some() || arguments.types.is_some();
    let difference = seen.difference(&judged, is_filtered);
    seen.tell(&judged, difference.as_deref());
    Ok(if difference.is_some() { DIFFERS } else { status })
}

/// Tells the events of the run as they come, to the last one.
async fn follow(client: &Client, arguments: &WatchArguments) -> Result<Seen, ClientError> {
    let query: Vec<(&str, &str)> =
        [("project", &arguments.project), ("preset", &arguments.preset), ("types", &arguments.types)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
    let teller = RefCell::new(Teller::new(arguments));
    let (mut seen, told) = (Seen::default(), Cell::new(0_u64));
    let events = tell_all(client.run_events(&arguments.run, &query), &teller, |event| seen.take(event));
    if !arguments.logs {
        events.await?;
        return Ok(seen);
    }
    let of_project = query.iter().copied().filter(|(name, _)| *name == "project");
    let from_the_first = [("from", "earliest")].into_iter().chain(of_project).collect::<Vec<_>>();
    let count = |_: &Value| told.set(told.get().wrapping_add(1));
    let lines = tell_all(client.run_logs(&arguments.run, &from_the_first), &teller, count);
    with_last_lines(events, lines, &told).await?;
    Ok(seen)
}

/// Both to the end of the events, and then lines for as long as they come.
async fn with_last_lines(
    events: impl Future<Output = Result<(), ClientError>>,
    lines: impl Future<Output = Result<(), ClientError>>,
    told: &Cell<u64>,
) -> Result<(), ClientError> {
    let (mut events, mut lines) = (pin!(events), pin!(lines));
    tokio::select! {
        ended = &mut lines => {
            ended?;
            return events.await;
        }
        ended = &mut events => ended?,
    }
    loop {
        let before = told.get();
        match timeout(LAST_LINES, &mut lines).await {
            Ok(ended) => return ended,
            Err(_) if told.get() == before => return Ok(()),
            Err(_) => {}
        }
    }
}

async fn tell_all(
    mut subscription: Subscription<'_>,
    teller: &RefCell<Teller>,
    mut take: impl FnMut(&Value),
) -> Result<(), ClientError> {
    while let Some(event) = subscription.next().await? {
        // A line each: what is printed as such has to be one.
        let data = serde_json::from_str::<Value>(&event.data).ok();
        let data = data.filter(|data| data.is_object() && !event.data.contains('\n'));
        let data =
            data.ok_or_else(|| ClientError::Answer { why: "an event in it is no JSON object".into() })?;
        take(&data);
        teller.borrow_mut().tell(&event.data, &data)?;
    }
    Ok(())
}

/// Who hears of it.
enum Teller {
    Person(Screen),
    Program,
}

impl Teller {
    fn new(arguments: &WatchArguments) -> Self {
        if arguments.json { Teller::Program } else { Teller::Person(Screen::new(&arguments.run)) }
    }

    fn tell(&mut self, line: &str, event: &Value) -> Result<(), ClientError> {
        match self {
            Teller::Person(screen) => screen.tell(event),
            Teller::Program => answer_json(&format!("{line}\n"))
                .map_err(|failure| ClientError::Kept { why: failure.message().to_owned() })?,
        }
        Ok(())
    }
}
