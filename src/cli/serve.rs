//! `sealstone serve`: the service, from nothing to an address.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{CANNOT_WRITE, Failure, UNAVAILABLE, UNREADABLE, answer};
use super::log::LogArguments;
use super::quantity::{Bytes, Period};
use super::style::{DOUBT, FAINT, GOOD, RESET, STRONG, printable, say};
use super::{hangup, local_key, machine, signing_key};
use crate::append::Surroundings;
use crate::evidence::envelope::limits::Limits;
use crate::http::{Places, Site, acceptor, router, serve};
use crate::journal::Periods;
use crate::service::{Service, Signing};
use crate::store::directory::{DataDirectory, EngineName};
use crate::store::layout::LAYOUT;

/// Serves on this machine: records runs, seals them, shows and verifies envelopes. Makes its data directory and its key at
/// the first start.
#[derive(Args)]
#[command(after_help = SERVE_HELP)]
pub(super) struct ServeArguments {
    /// Address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7325", env = "SEALSTONE_LISTEN")]
    listen: SocketAddr,
    /// Where records and key are
    #[arg(long, value_name = "DIR", default_value = "./sealstone-data", env = "SEALSTONE_DATA_DIR")]
    data_dir: PathBuf,
    /// What keeps the records: fjall, sled, or memory (nothing is kept)
    #[arg(long, value_name = "ENGINE", default_value = "fjall", env = "SEALSTONE_ENGINE")]
    engine: EngineName,
    /// Signing key (default: key.pem in the data directory, made at first start)
    #[arg(long, value_name = "FILE", env = "SEALSTONE_KEY")]
    key: Option<std::ffi::OsString>,
    /// Below so much free disk nothing is recorded
    #[arg(long, value_name = "SIZE", default_value = "256MiB", env = "SEALSTONE_MIN_FREE")]
    min_free: Bytes,
    /// A run that is open so long is closed as expired
    #[arg(long, value_name = "PERIOD", default_value = "24h", env = "SEALSTONE_MAX_RUN_DURATION")]
    max_run_duration: Period,
    /// A run that nothing is heard of for so long is closed as expired; not while a gate is open
    #[arg(long, value_name = "PERIOD", default_value = "1h", env = "SEALSTONE_IDLE_TIMEOUT")]
    idle_timeout: Period,
    /// A run that was asked to abort and is open so long after is closed as aborted
    #[arg(long, value_name = "PERIOD", default_value = "30s", env = "SEALSTONE_ABORT_GRACE")]
    abort_grace: Period,
    /// The logs of a run may have so many bytes in all
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "SEALSTONE_MAX_LOG")]
    max_log: Bytes,
    /// How many streams may be followed at once; more are answered 503
    #[arg(long, value_name = "N", default_value = "16384", env = "SEALSTONE_MAX_SUBSCRIBERS")]
    max_subscribers: usize,
    /// Requests a second that one token may make, and at once; more are answered 429
    #[arg(long, value_name = "N", env = "SEALSTONE_RATE_LIMIT", value_parser = clap::value_parser!(u32).range(1..))]
    rate_limit: Option<u32>,
    /// Certificate chain, PEM: speaks TLS, and lets --listen name any address, once there is a token
    #[arg(long, value_name = "FILE", env = "SEALSTONE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE", env = "SEALSTONE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A proxy on this machine or before it speaks TLS: lets --listen name any address, once there is a token
    #[arg(long, env = "SEALSTONE_BEHIND_PROXY")]
    behind_proxy: bool,
    #[command(flatten)]
    log: LogArguments,
    /// Print the address as JSON, for programs
    #[arg(long)]
    json: bool,
}

const SERVE_HELP: &str = "\
Without tokens it serves only this machine (a loopback address), and whoever reaches that is admin. The first token is made while it
does not run: sealstone token create NAME --role admin --data-dir DIR; more then with `token create --server URL`.
SIGHUP: key and keyring are read anew, as after `sealstone keys rotate`; what cannot be taken changes nothing.
SIGTERM or SIGINT ends it: requests under way are answered, then it stops. Records that were acknowledged are on the disk.";

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Files that are no connections: the records, and what else is open.
const OTHER_FILES: usize = 512;
/// How many connections there are room for at least.
const MIN_CONNECTIONS: usize = 64;

impl ServeArguments {
    /// An empty variable, as CI systems like to set them, is none.
    fn given_key(&self) -> Option<PathBuf> {
        self.key.as_ref().filter(|key| !key.is_empty()).map(PathBuf::from)
    }
}

pub(super) fn run(arguments: &ServeArguments) -> Result<u8, Failure> {
    let connections = allow_many_connections();
    arguments.log.begin();
    let directory = DataDirectory::open(&arguments.data_dir);
    let directory = directory.map_err(|error| Failure::new(CANNOT_WRITE, error))?;
    let own_key = directory.path().join("key.pem");
    let key_path = arguments.given_key().unwrap_or(own_key);
    let (key, made_key) = signing_key::read_or_make(&key_path)?;
    let signing = Signing { key, keyring: signing_key::keyring_beside(&key_path)? };
    let tls = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificates), Some(key)) => {
            Some(acceptor(certificates, key).map_err(|error| Failure::new(UNREADABLE, error))?)
        }
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(UNAVAILABLE, format!("cannot start: {error}")))?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
            let advice = "; is it served already? --listen 127.0.0.1:0 takes a free port";
            Failure::new(UNAVAILABLE, format!("cannot listen on {}: {error}{advice}", arguments.listen))
        })?;
        let address = listener.local_addr().unwrap_or(arguments.listen);
        let keyid = signing.key.public().keyid();
        let service = start(arguments, &directory, signing)?;
        check_address(arguments, service.had_tokens())?;
        let taker = service.clone();
        hangup::take_keys(key_path.clone(), arguments.log.is_json(), move |key, keyring| {
            let taken = taker.take_keys(Signing { key, keyring });
            taken.map(|taken| taken.to_string()).map_err(|error| error.to_string())
        });
        tell(arguments, address, &keyid, made_key.then_some(&key_path), service.had_tokens())?;
        tokio::spawn(Service::sweep(service.clone()));
        let places = Places::new(connections, service.figures().clone());
        let site = Site { https: tls.is_some() || arguments.behind_proxy };
        let end = async {
            asked_to_end(&arguments.log).await;
            service.end_streams();
        };
        serve(listener, tls, router(service.clone(), site), places, end).await;
        tracing::info!("ended");
        Ok(0)
    });
    // What is left is nothing that anybody waits for: seals are finished at the next start.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Each connection is an open file; as many are allowed as may be. How many connections that makes.
fn allow_many_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // What is refused leaves things as they were.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = getrlimit(Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    files.saturating_sub(OTHER_FILES).max(MIN_CONNECTIONS)
}

/// Whoever reaches the address must be somebody who may.
fn check_address(arguments: &ServeArguments, has_tokens: bool) -> Result<(), Failure> {
    let (ip, port) = (arguments.listen.ip(), arguments.listen.port());
    match (ip.is_loopback(), has_tokens, arguments.behind_proxy || arguments.tls_cert.is_some()) {
        // Before a proxy everybody comes from this machine.
        (true, false, _) if arguments.behind_proxy => Err(Failure::usage(format!(
            "behind a proxy everybody seems to be on this machine: make a token first: sealstone token create NAME --role admin \
             --data-dir {}",
            printable(&arguments.data_dir.display().to_string())
        ))),
        (true, ..) | (false, true, true) => Ok(()),
        (false, false, _) => Err(Failure::usage(format!(
            "{ip} is not a loopback address; without tokens only this machine is served: use --listen 127.0.0.1:{port}, \
             or make a token first: sealstone token create NAME --role admin --data-dir {}",
            printable(&arguments.data_dir.display().to_string())
        ))),
        (false, true, false) => Err(Failure::usage(format!(
            "{ip} is not a loopback address, and tokens must not travel in the open: give --tls-cert and --tls-key, or put a proxy that \
             speaks TLS before it, and say --behind-proxy"
        ))),
    }
}

fn start(
    arguments: &ServeArguments,
    directory: &DataDirectory,
    signing: Signing,
) -> Result<Arc<Service>, Failure> {
    let store = directory.store(arguments.engine).map_err(|error| Failure::new(CANNOT_WRITE, error))?;
    let surroundings = Surroundings {
        now: Box::new(machine::now),
        random: Box::new(machine::fill),
        limits: Limits::default(),
        periods: Periods {
            max_run_duration_ms: arguments.max_run_duration.ms,
            idle_timeout_ms: arguments.idle_timeout.ms,
            abort_grace_ms: arguments.abort_grace.ms,
        },
        max_log_bytes: arguments.max_log.0,
        max_subscribers: arguments.max_subscribers,
        started_at: machine::now(),
    };
    let disk =
        (arguments.engine != EngineName::Memory).then(|| (directory.path().to_owned(), arguments.min_free.0));
    Service::start(Arc::new(store), signing, surroundings, disk, arguments.rate_limit)
        .map_err(|error| Failure::new(CANNOT_WRITE, format!("cannot start: {error}")))
}

fn tell(
    arguments: &ServeArguments,
    address: SocketAddr,
    keyid: &str,
    made_key: Option<&PathBuf>,
    has_tokens: bool,
) -> Result<(), Failure> {
    let shown = |path: &Path| printable(&path.display().to_string());
    let scheme = if arguments.tls_cert.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    let (engine, layout, makes_key) = (arguments.engine.as_str(), LAYOUT, made_key.is_some());
    tracing::info!(url, keyid, engine, layout, makes_key, has_tokens, version = VERSION, "serving");
    if let Some(path) = made_key.filter(|_| !arguments.log.is_json()) {
        say(format_args!("{FAINT}made the signing key {}; keep it secret{RESET}", shown(path)));
    }
    if arguments.json {
        return answer(&format!("{}\n", serde_json::json!({ "url": url, "keyid": keyid })));
    }
    answer(&format!("{GOOD}serving{RESET} {STRONG}{url}{RESET}\n"))?;
    if arguments.log.is_json() {
        return Ok(());
    }
    let kept = match arguments.engine {
        EngineName::Memory => "in memory: nothing is kept".to_owned(),
        engine => format!("in {} ({})", shown(&arguments.data_dir), engine.as_str()),
    };
    say(format_args!("{FAINT}records {kept}, sealed by {keyid}{RESET}"));
    if has_tokens {
        say(format_args!("{FAINT}who asks needs a token{RESET}"));
        return Ok(());
    }
    say(format_args!("{DOUBT}no tokens:{RESET} whoever reaches this address on this machine is admin"));
    let program = std::env::current_exe().map_or_else(|_| "sealstone".to_owned(), |path| shown(&path));
    let keyring =
        arguments.given_key().is_none().then(|| local_key::keyring_path(&arguments.data_dir.join("key.pem")));
    let keys = keyring.map(|path| format!(" --keys {}", shown(&path))).unwrap_or_default();
    say(format_args!(
        "\nRecord a run against it; paste this into another terminal in this directory:\n\n  \
         S={program}; export SEALSTONE_SERVER={url}; export SEALSTONE_RUN=$($S run open --project demo) && \
         $S run step hello --status passed && $S run finalize succeeded && $S verify $SEALSTONE_RUN{keys}\n"
    ));
    Ok(())
}

/// SIGTERM or SIGINT.
async fn asked_to_end(log: &LogArguments) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    tracing::info!("ending");
    if !log.is_json() {
        // The terminal may be gone.
        let _ = writeln!(anstream::stderr(), "{FAINT}ending: requests under way are answered{RESET}");
    }
}
