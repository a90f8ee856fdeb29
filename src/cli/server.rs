//! Which service a command talks to, and how.

use std::ffi::OsString;
use std::future::Future;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::exit::{CANNOT_WRITE, Failure, REFUSED, UNAVAILABLE};
use super::input::read_regular;
use super::machine;
use crate::client::{Client, ClientError, Retry};

/// A certificate is far smaller.
const MAX_CA_BYTES: usize = 1 << 20;

/// Where `serve` listens unless told otherwise.
const DEFAULT: &str = "http://127.0.0.1:7325";

#[derive(Args)]
pub(super) struct ServerArguments {
    /// Address of the service (default: http://127.0.0.1:7325)
    #[arg(long, value_name = "URL", env = "SEALSTONE_SERVER", global = true)]
    server: Option<String>,
    /// Token of the service; better in the variable than on the command line, which others can see
    #[arg(long, value_name = "TOKEN", env = "SEALSTONE_TOKEN", hide_env_values = true, global = true, value_parser = token())]
    token: Option<String>,
    /// Certificate, PEM, that is trusted besides those of the machine
    #[arg(long, value_name = "FILE", env = "SEALSTONE_CA", global = true)]
    ca: Option<std::path::PathBuf>,
}

impl ServerArguments {
    /// Whether a service was named on the command line: not by a variable, and not by a file that lies about.
    pub(super) fn is_named_here(&self) -> bool {
        let names = |argument: OsString| {
            let argument = argument.to_string_lossy();
            argument == "--server" || argument.starts_with("--server=")
        };
        self.is_named() && std::env::args_os().any(names)
    }

    /// Whether a service was named.
    pub(super) fn is_named(&self) -> bool {
        self.server.as_ref().is_some_and(|server| !server.is_empty())
    }

    /// The token, if one was given.
    pub(super) fn token(&self) -> Option<&str> {
        // Secrets of CI systems like to end with a line feed.
        self.token.as_deref().map(str::trim).filter(|token| !token.is_empty())
    }

    /// A client of the service.
    pub(super) fn client(&self, retry: Retry) -> Result<Client, Failure> {
        let url = self.server.as_deref().filter(|server| !server.is_empty()).unwrap_or(DEFAULT);
        self.client_of(url, self.token(), retry)
    }

    /// A client of the service at that address, with that token.
    pub(super) fn client_of(&self, url: &str, token: Option<&str>, retry: Retry) -> Result<Client, Failure> {
        let ca = self.ca.as_deref().filter(|path| !path.as_os_str().is_empty());
        let authorities = ca.map(|path| read_regular(path, MAX_CA_BYTES)).transpose()?;
        let authorities: Vec<Vec<u8>> = authorities.into_iter().collect();
        Client::new(url, token, &authorities, retry, machine::random::<16>).map_err(told)
    }

    /// Calls the service and waits for what it says.
    pub(super) fn ask<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure> {
        let client = self.client(Retry::default())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(UNAVAILABLE, error))?;
        runtime.block_on(call(client)).map_err(told)
    }
}

/// Any bytes: what is no token is told of when it is used, and keeps no command from running that can do without.
fn token() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|token| token.to_string_lossy().into_owned())
}

fn told(error: ClientError) -> Failure {
    let status = match &error {
        ClientError::Token | ClientError::Url { .. } => return Failure::usage(error),
        ClientError::Answer { .. } | ClientError::Away { .. } | ClientError::Untrusted { .. } => UNAVAILABLE,
        ClientError::Kept { .. } => CANNOT_WRITE,
        ClientError::Refused { .. } => REFUSED,
    };
    Failure::new(status, error)
}
