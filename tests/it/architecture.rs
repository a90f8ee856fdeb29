//! The arrows between the modules, and what the auditor's build depends on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below src/, with its path from there.
fn sources() -> Vec<(PathBuf, String)> {
    let mut open = vec![root().join("src")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root().join("src")).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 30);
    found
}

/// The code of a file without comments and without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_core_names_nothing_outside_it_and_reads_no_surroundings() {
    let forbidden = [
        "std::{",
        "super::super::super",
        "std::fs",
        "std::io",
        "std::env",
        "std::net",
        "std::process",
        "std::thread",
        "SystemTime",
        "Instant",
        "getrandom",
        "tokio",
        "axum",
        "clap",
        "println!",
        "uuid",
        "rustix",
    ];
    for (path, text) in
        sources().into_iter().filter(|(path, _)| path.starts_with("evidence") || path.starts_with("journal"))
    {
        let code = code(&text);
        for word in forbidden {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
        let outside = code.split("crate::").skip(1).find(|rest| !rest.starts_with("evidence"));
        assert_eq!(
            outside.and_then(|rest| rest.lines().next()),
            None,
            "{} reaches out of the core",
            path.display()
        );
    }
}

#[test]
fn seal_and_verify_do_not_see_each_other() {
    for (path, text) in sources() {
        let code = code(&text);
        if path.starts_with("evidence/verify") {
            assert!(
                !code.contains("evidence::seal") && !code.contains("super::seal"),
                "{} sees seal",
                path.display()
            );
        }
        if path.ends_with("evidence/seal.rs") {
            assert!(!code.contains("verify"), "seal sees verify");
        }
    }
}

#[test]
fn each_library_that_matters_has_one_user() {
    let owners = [
        ("serde_jcs", "evidence/canonical/value.rs"),
        ("sha2::", "evidence/digest.rs"),
        ("ed25519_dalek", "evidence/key.rs"),
        ("fjall::", "store/embedded/fjall.rs"),
        ("sled::{", "store/embedded/sled.rs"),
        ("regex::", "journal/masks.rs"),
        ("reqwest::{", "client/http.rs"),
        ("quick_xml::Reader", "exec/junit/parse.rs"),
    ];
    for (library, owner) in owners {
        let users: Vec<PathBuf> = sources()
            .into_iter()
            .filter(|(_, text)| {
                code(text).contains(library) && !code(text).contains(&format!("self::{library}"))
            })
            .map(|(path, _)| path)
            .collect();
        assert_eq!(users, [Path::new(owner)], "{library}");
    }
}

/// A module, and those that it may see besides itself.
const ARROWS: [(&str, &[&str]); 12] = [
    ("evidence", &[]),
    ("files.rs", &["evidence"]),
    ("journal", &["evidence"]),
    ("store", &["evidence", "journal", "files"]),
    ("logs", &["evidence"]),
    ("figures", &[]),
    ("events", &["evidence", "journal"]),
    ("append", &["evidence", "journal", "store", "logs", "events", "figures"]),
    ("service", &["evidence", "journal", "store", "logs", "events", "figures", "append"]),
    ("http", &["evidence", "journal", "events", "figures", "service"]),
    ("client", &["evidence", "files", "events"]),
    ("exec", &["evidence", "files", "client"]),
];

#[test]
fn each_layer_sees_only_those_before_it() {
    let named = |text: &str| -> Vec<String> {
        let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        code(text).split("crate::").skip(1).map(name).collect()
    };
    for (module, may_see) in ARROWS {
        let own = module.trim_end_matches(".rs");
        for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with(module)) {
            if path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "contract.rs")
            {
                continue;
            }
            for seen in named(&text) {
                assert!(seen == own || may_see.contains(&seen.as_str()), "{} sees {seen}", path.display());
            }
        }
    }
    for (path, text) in sources().into_iter().filter(|(path, _)| {
        path.starts_with("cli")
            && !path.ends_with("serve.rs")
            && !path.ends_with("token.rs")
            && !path.starts_with("cli/store")
    }) {
        let of_the_service = named(&text)
            .into_iter()
            .find(|seen| ["append", "http", "journal", "service", "store"].contains(&seen.as_str()));
        assert_eq!(of_the_service, None, "{} sees the service", path.display());
    }
}

/// A program that reports has streams of its own, and knows nothing of journals.
#[test]
fn what_clients_have_of_events_sees_no_journal() {
    let module = fs::read_to_string(root().join("src/events/mod.rs")).unwrap();
    let of_the_service: Vec<&str> = module
        .split("#[cfg(feature = \"service\")]\nmod ")
        .skip(1)
        .map(|rest| rest.split(';').next().unwrap())
        .collect();
    assert!(of_the_service.contains(&"hub") && !of_the_service.contains(&"told"), "{of_the_service:?}");
    let mut seen = 0;
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with("events")) {
        let name = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
        if !of_the_service.contains(&name.trim_end_matches(".rs")) {
            seen += 1;
            assert!(!text.contains("journal::"), "{} sees the journal", path.display());
        }
    }
    assert!(seen > 10);
}

#[test]
fn files_are_rooms_of_one_purpose() {
    for (path, text) in sources() {
        let lines = text.split("#[cfg(test)]\nmod").next().unwrap().lines().count();
        assert!(lines <= 400, "{} has {lines} lines", path.display());
    }
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(lib.lines().count() <= 100);
}

fn cargo_tree(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).arg("tree").args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_auditors_build_depends_on_nothing_unlisted() {
    let tree = cargo_tree(&[
        "--no-default-features",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let built: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).collect();
    let listed = fs::read_to_string(root().join("tests/auditor-dependencies.txt")).unwrap();
    let listed: BTreeSet<&str> = listed.lines().filter(|line| !line.starts_with('#')).collect();
    let unlisted: Vec<_> = built.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&built).collect();
    assert!(
        unlisted.is_empty() && gone.is_empty(),
        "not in tests/auditor-dependencies.txt: {unlisted:?}; no longer built: {gone:?}"
    );
}

#[test]
fn nobody_turns_on_what_would_change_how_serde_json_reads_numbers_or_orders_members() {
    let tree = cargo_tree(&[
        "--all-features",
        "--edges",
        "features,normal",
        "--invert",
        "serde_json",
        "--prefix",
        "none",
    ]);
    for feature in ["arbitrary_precision", "preserve_order"] {
        assert!(!tree.contains(feature), "serde_json's {feature} is on:\n{tree}");
    }
}
