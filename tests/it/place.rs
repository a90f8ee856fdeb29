//! A directory of its own for each test, and the real command in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// How the names of variables begin that CI systems set.
const OF_CI: [&str; 15] = [
    "AGENT_",
    "BRANCH_",
    "BUILD",
    "CHANGE_",
    "CIRCLE",
    "CI_",
    "GITHUB_",
    "GITLAB_",
    "GIT_BRANCH",
    "GIT_COMMIT",
    "GIT_URL",
    "JENKINS_",
    "JOB_",
    "SYSTEM_",
    "TEKTON_",
];

/// A temporary directory with a key of its own.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// `sealstone` with these arguments, in this directory, with nothing of the environment that would change what it does.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealstone"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        command
            .env("XDG_DATA_HOME", self.path("data"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("CI");
        // Whatever runs the tests is not what the tests are about.
        let of_ci = |name: &str| OF_CI.iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_ci)) {
            command.env_remove(name);
        }
        for name in [
            "SEALSTONE_CONFIG",
            "SEALSTONE_KEY",
            "SEALSTONE_PROJECT",
            "SEALSTONE_RUN",
            "SEALSTONE_SERVER",
            "SEALSTONE_TOKEN",
            "SEALSTONE_CA",
            "SEALSTONE_SPOOL",
            "GIT_DIR",
            "GIT_INDEX_FILE",
            "GIT_WORK_TREE",
            "STAGE_NAME",
            "TAG_NAME",
            "TF_BUILD",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// The files in which that stands, of all below.
    #[cfg(any(feature = "client", feature = "service"))]
    pub(crate) fn files_with(&self, text: impl AsRef<[u8]>) -> Vec<String> {
        let text = text.as_ref();
        let (mut open, mut found) = (vec![self.directory.path().to_owned()], Vec::new());
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if fs::read(&path).unwrap().windows(text.len()).any(|window| window == text) {
                    found.push(path.display().to_string());
                }
            }
        }
        found
    }

    /// The keyring beside the key that `exec` made.
    #[cfg(feature = "client")]
    pub(crate) fn keyring(&self) -> PathBuf {
        self.path("data/sealstone/keyring.json")
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
