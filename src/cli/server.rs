//! Which service a command talks to, and how.

use std::future::Future;

use clap::Args;

use super::exit::{CANNOT_WRITE, Failure, UNAVAILABLE};
use super::input::read_bounded;
use super::machine;
use crate::client::{Client, ClientError, Retry};

/// The service refused what was asked.
const REFUSED: u8 = 1;

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
    #[arg(long, value_name = "TOKEN", env = "SEALSTONE_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// Certificate, PEM, that is trusted besides those of the machine
    #[arg(long, value_name = "FILE", env = "SEALSTONE_CA", global = true)]
    ca: Option<std::path::PathBuf>,
}

impl ServerArguments {
    /// Whether a service was named.
    pub(super) fn is_named(&self) -> bool {
        self.server.as_ref().is_some_and(|server| !server.is_empty())
    }

    /// The token, if one was given.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref().filter(|token| !token.is_empty())
    }

    /// A client of the service.
    pub(super) fn client(&self, retry: Retry) -> Result<Client, Failure> {
        self.client_of(DEFAULT, retry)
    }

    /// A client of the service at that address, unless another was named.
    pub(super) fn client_of(&self, url: &str, retry: Retry) -> Result<Client, Failure> {
        let url = self.server.as_deref().filter(|server| !server.is_empty()).unwrap_or(url);
        let ca = self.ca.as_deref().filter(|path| !path.as_os_str().is_empty());
        let authorities = ca.map(|path| read_bounded(path, MAX_CA_BYTES)).transpose()?;
        let authorities: Vec<Vec<u8>> = authorities.into_iter().collect();
        Client::new(url, self.token(), &authorities, retry, machine::random::<16>).map_err(told)
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

fn told(error: ClientError) -> Failure {
    let status = match &error {
        ClientError::Token | ClientError::Url { .. } => return Failure::usage(error),
        ClientError::Answer { .. } | ClientError::Away { .. } | ClientError::Untrusted { .. } => UNAVAILABLE,
        ClientError::Kept { .. } => CANNOT_WRITE,
        ClientError::Refused { .. } => REFUSED,
    };
    Failure::new(status, error)
}
