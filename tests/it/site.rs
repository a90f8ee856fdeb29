//! A service with trouble before it, and the commands that report to it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::faulty::Faulty;
use crate::place::{Place, Ran};
use crate::server::Server;

/// The service, what is before it, and the build that reports to it.
pub(crate) struct Site {
    pub(crate) place: Place,
    pub(crate) server: Server,
    pub(crate) proxy: Faulty,
}

impl Site {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place, &[]);
        let proxy = Faulty::before(&server.address);
        Self { place, server, proxy }
    }

    /// Kills the service, and starts it again after a while.
    pub(crate) fn restart(&mut self, pause: Duration, arguments: &[&str]) {
        self.server.kill();
        sleep(pause);
        self.server = Server::start(&self.place, arguments);
        self.proxy.lead_to(&self.server.address);
    }

    pub(crate) fn tell_environment(&self, command: &mut Command) {
        command.env("SEALSTONE", env!("CARGO_BIN_EXE_sealstone"));
        command.env("XDG_STATE_HOME", self.place.path("state"));
        command.env("SEALSTONE_SPOOL", self.place.path("spool")).env("SEALSTONE_FLUSH_TIMEOUT", "300ms");
        command.env("SEALSTONE_SERVER", self.proxy.url());
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        self.tell_environment(&mut command);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    pub(crate) fn open(&self) {
        let opened = self.server.post("/v1/runs", &json!({ "project": "demo", "run_id": "my-run" }));
        assert_eq!(opened.status, 201, "{opened:?}");
    }

    /// Sends what waits; then nothing is left, and nothing was refused.
    pub(crate) fn flush(&self) {
        let ran = self.run(&["spool", "flush"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(self.spooled(), [""; 0].map(PathBuf::from));
    }

    /// What the spool has.
    pub(crate) fn spooled(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.place.path("spool")).into_iter().flatten();
        let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The names of all runs.
    pub(crate) fn runs(&self) -> Vec<String> {
        let page = self.server.get("/v1/runs?limit=100").json();
        let names = page["runs"].as_array().unwrap().iter();
        let mut names: Vec<String> = names.map(|run| run["run_id"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// The one envelope, once it is verified.
    pub(crate) fn envelope(&self) -> Value {
        assert_eq!(self.runs(), ["my-run"]);
        let file = self.server.get("/v1/envelopes/my-run?project=demo");
        assert_eq!(file.status, 200, "{file:?}");
        self.place.write("envelope.json", &file.body);
        let ran = self.place.run(&["verify", "envelope.json", "--keys", "records/keyring.json"]);
        assert_eq!(ran.status, 0, "{ran:?}");
        file.json()["envelope"].clone()
    }

    pub(crate) fn log(&self, run_id: &str, step_id: &str, attempt: u64) -> Vec<u8> {
        let path = format!("/v1/runs/{run_id}/logs?project=demo&step_id={step_id}&attempt={attempt}");
        let answer = self.server.get(&path);
        match answer.status {
            // Who wrote nothing has none.
            404 => Vec::new(),
            _ => answer.body,
        }
    }
}
