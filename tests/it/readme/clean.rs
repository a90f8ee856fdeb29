//! A machine as a new user has it: an empty home, a checkout, `sealstone` on the path, and a service with tokens.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::place::{Place, Ran, text};
use crate::server::{Answer, Server};

pub(super) struct Clean {
    place: Place,
    pub(super) server: Server,
    admin: String,
    /// What every process here has.
    environment: BTreeMap<String, String>,
    /// What is settled for a project in its CI system.
    pub(super) settled: BTreeMap<String, String>,
}

impl Clean {
    pub(super) fn new() -> Self {
        let place = Place::new();
        for directory in ["bin", "home", "work/dist", "work/evidence", "tmp"] {
            fs::create_dir_all(place.path(directory)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_sealstone"), place.path("bin/sealstone")).unwrap();
        // What snippets run for their own sake.
        let cargo = place.write("bin/cargo", "#!/bin/sh\necho cargo \"$@\"\nexit ${STATUS:-0}\n");
        fs::set_permissions(cargo, fs::Permissions::from_mode(0o755)).unwrap();
        place.write("work/Makefile", ".PHONY: dist\ndist:\n\techo a widget > dist/widget.tar.gz\n");
        place.write("work/dist/widget.tar.gz", "a widget");
        let token = |role: &str| {
            let made = place.run(&["token", "create", role, "--role", role, "--data-dir", "records"]);
            assert_eq!(made.status, 0, "{made:?}");
            made.stdout.trim().to_owned()
        };
        let (admin, writer) = (token("admin"), token("writer"));
        let server = Server::start(&place, &[]);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", text(&place.path("bin")));
        let of = |name: &str| place.path(name).display().to_string();
        let environment = [
            ("PATH", path),
            ("HOME", of("home")),
            ("GITHUB_ENV", of("tmp/github-env")),
            // Nobody here waits for a service that is away.
            ("SEALSTONE_FLUSH_TIMEOUT", "100ms".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let settled = [("SEALSTONE_SERVER", server.url()), ("SEALSTONE_TOKEN", writer)];
        let settled = settled.map(|(name, value)| (name.to_owned(), value)).into();
        let clean = Self { place, server, admin, environment, settled };
        let git = "git init -q . && git remote add origin https://git.example/acme/widget.git \
            && git -c user.name=A -c user.email=a@b commit -q --allow-empty -m 'Count the wheels'";
        clean.run(git);
        clean
    }

    /// Those variables of a CI system, as they were recorded.
    pub(super) fn within(mut self, environment: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/environments").join(environment);
        let text = fs::read_to_string(path).unwrap();
        let variables = text.lines().filter_map(|line| line.split_once('='));
        self.environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// A machine on which the variables are set, those of the service too.
    pub(super) fn told_of_the_service(mut self) -> Self {
        self.environment.extend(self.settled.clone());
        self
    }

    /// The same for who may do everything.
    pub(super) fn with_all_rights(mut self) -> Self {
        self.settled.insert("SEALSTONE_TOKEN".to_owned(), self.admin.clone());
        self.told_of_the_service()
    }

    /// Settles it otherwise in the CI system.
    pub(super) fn given(mut self, name: &str, value: &str) -> Self {
        self.settled.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment);
        command.current_dir(self.place.path("work")).stdin(Stdio::null());
        command
    }

    pub(super) fn shell(&self, script: &str) -> Ran {
        Ran::from(self.command("/bin/sh", &["-e", "-c", script]).output().unwrap())
    }

    /// The same, which has to end well.
    pub(super) fn run(&self, script: &str) -> Ran {
        let ran = self.shell(script);
        assert_eq!(ran.status, 0, "{script}\n{ran:?}");
        ran
    }

    pub(super) fn settled(&self) -> Vec<(String, String)> {
        self.settled.clone().into_iter().collect()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.place.path("work").join(name), text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.place.path("work").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Reads a file, and leaves it empty.
    pub(super) fn take(&self, name: &str) -> String {
        let taken = fs::read_to_string(self.place.path(name)).unwrap_or_default();
        fs::write(self.place.path(name), "").unwrap();
        taken
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.admin)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.server.request("GET", path, &[("Authorization", &self.authorization())], b"")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("Authorization", &*self.authorization()), ("Content-Type", "application/json")];
        self.server.request("POST", path, &headers, body.to_string().as_bytes())
    }

    pub(super) fn runs(&self) -> Vec<Value> {
        self.get("/v1/runs").json()["runs"].as_array().unwrap().clone()
    }

    /// The only run that the service has, sealed, as its auditor sees it.
    pub(super) fn the_run(&self) -> Value {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        assert_eq!(runs[0]["state"], "sealed", "{runs:?}");
        let evidence_id = runs[0]["evidence_id"].as_str().unwrap();
        let sealed = self.get(&format!("/v1/envelopes/{evidence_id}")).body;
        let file = self.place.write("sealed.json", &sealed);
        let keyring = self.place.path("records/keyring.json");
        let verified = self.place.run(&["verify", text(&file), "--keys", text(&keyring)]);
        assert_eq!(verified.status, 0, "{verified:?}");
        serde_json::from_slice::<Value>(&sealed).unwrap()["envelope"].take()
    }

    /// The keyring of the service, where the snippets have it.
    pub(super) fn give_keyring(&self) {
        fs::copy(self.place.path("records/keyring.json"), self.place.path("work/keyring.json")).unwrap();
    }

    /// Ends the service; the same comes back with `come_back`.
    pub(super) fn go_away(&mut self) {
        self.server.kill();
    }

    pub(super) fn come_back(&mut self) {
        let address = self.server.address.clone();
        self.server = Server::start(&self.place, &["--listen", &address]);
    }
}
