//! Where this process reports from, looked at on this machine.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::exec::{Detected, Environment, Subject, detect};

/// The event of a pull request is far smaller.
const MAX_EVENT_BYTES: u64 = 4 << 20;

/// What is told by the environment, by the checkout, and by the directory's name.
pub(super) fn detected(checkout: Option<Subject>) -> Detected {
    let variable = |name: &str| std::env::var(name).ok();
    let environment = Environment { variable: &variable, file: &text_of };
    detect(&environment, checkout, &std::env::current_dir().unwrap_or_default())
}

fn text_of(path: &Path) -> Option<String> {
    // Who opens a pipe may wait for long.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_EVENT_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}
