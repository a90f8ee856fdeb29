//! Options come from flags, then variables, then `sealstone.toml`.

use serde_json::Value;

use crate::place::{Place, Ran};
use crate::server::Server;

/// The run that `exec` sealed with these arguments and variables.
fn executed(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut command = place.command(&[&["exec", "--out", "out.json"], arguments, &["--", "true"]].concat());
    command.envs(variables.iter().copied());
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.status, 0, "{ran:?}");
    let sealed: Value = serde_json::from_slice(&std::fs::read(place.path("out.json")).unwrap()).unwrap();
    std::fs::remove_file(place.path("out.json")).unwrap();
    sealed["envelope"].clone()
}

#[test]
fn the_file_gives_what_neither_flag_nor_variable_does() {
    let place = Place::new();
    let file = "[exec]\nproject = 'of-file'\nkind = 'lint'\nlabel = ['a=b', 'c=-d']\nquiet = true\nrequire-evidence = false\n";
    place.write("sealstone.toml", file);
    let of_file = executed(&place, &[], &[]);
    assert_eq!(of_file["run"]["project"], "of-file");
    assert_eq!(of_file["execution"]["steps"][0]["kind"], "lint");
    assert_eq!(of_file["run"]["labels"], serde_json::json!({ "a": "b", "c": "-d" }));
    let project = |arguments: &[&str], variables: &[(&str, &str)]| {
        executed(&place, arguments, variables)["run"]["project"].as_str().unwrap().to_owned()
    };
    let variable = ("SEALSTONE_PROJECT", "of-variable");
    assert_eq!(project(&[], &[variable]), "of-variable");
    assert_eq!(project(&[], &[("SEALSTONE_PROJECT", "")]), "of-file");
    assert_eq!(project(&["--project", "of-flag"], &[variable]), "of-flag");
    assert_eq!(executed(&place, &["--label", "x=y"], &[])["run"]["labels"], serde_json::json!({ "x": "y" }));
    // Another file, named by a flag or by a variable.
    place.write("exec", "[exec]\nproject = 'of-other'\n");
    assert_eq!(project(&["--config", "exec"], &[]), "of-other");
    assert_eq!(project(&[], &[("SEALSTONE_CONFIG", "exec")]), "of-other");
    assert_eq!(project(&["--config", "exec", "--project", "of-flag"], &[]), "of-flag");
    assert_eq!(project(&["--config=sealstone.toml"], &[("SEALSTONE_CONFIG", "exec")]), "of-file");
}

#[test]
fn a_service_and_those_who_report_to_it_read_one_file() {
    let place = Place::new();
    place.write(
        "sealstone.toml",
        "[serve]\nlisten = '127.0.0.1:0'\ndata-dir = 'of-file'\nidle-timeout = '5m'\n",
    );
    let start = |variable: Option<&str>| {
        let mut command = place.command(&["serve", "--json"]);
        command.envs(variable.map(|directory| ("SEALSTONE_DATA_DIR", directory)));
        Server::spawn(command).unwrap()
    };
    drop(start(Some("of-variable")));
    assert!(place.path("of-variable/key.pem").exists() && !place.path("of-file").exists());
    let server = start(None);
    assert!(place.path("of-file/key.pem").exists());
    place.write("open", format!("server = '{}'\n[run]\nproject = 'p'\njson = true\n", server.url()));
    for arguments in [&["run", "open", "--config", "open"][..], &["run", "--config", "open", "open"]] {
        let opened = place.run(arguments);
        assert_eq!(opened.status, 0, "{opened:?}");
        assert!(opened.stdout.starts_with('{'), "{opened:?}");
    }
    assert_eq!(server.get("/v1/runs?project=p").json()["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_that_means_nothing_is_refused_and_not_quoted() {
    let place = Place::new();
    for (file, status, told) in [
        ("servers = 'secret'\n", 64, "no option `servers`; is `server` meant?"),
        ("[serve]\nlisen = 'secret'\n", 64, "no option `lisen` in [serve]; is `listen` meant?"),
        ("[serve]\ndata_dir = 'secret'\n", 64, "is `data-dir` meant?"),
        ("[exec]\nproject = ['secret']\n", 64, "`project`"),
        ("[exec]\nquiet = 'secret'\n", 64, "`quiet`: true or false expected"),
        ("exec = 'secret'\n", 64, "[exec]"),
        ("\ntoken = 'secret\n", 66, "not TOML, in line 2"),
    ] {
        place.write("sealstone.toml", file);
        let ran = place.run(&["exec", "--out", "out.json", "--", "touch", "ran"]);
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains(told) && ran.stderr.contains("sealstone.toml"), "{ran:?}");
        assert!(!ran.stderr.contains("secret") && !place.path("ran").exists(), "{ran:?}");
    }
    assert_eq!(place.run(&["exec", "--config", "nowhere.toml", "--", "true"]).status, 66);
    // What needs something else needs it from a file too, and what is no value is none.
    for file in ["[serve]\ntls-cert = 'cert.pem'\n", "[serve]\nlisten = 'nonsense'\n"] {
        place.write("sealstone.toml", file);
        assert_eq!(place.run(&["serve"]).status, 64, "{file}");
    }
}

#[test]
fn a_verdict_depends_on_no_file_that_lies_about() {
    let place = Place::new();
    executed(&place, &["--log", "log"], &[]);
    assert_eq!(place.run(&["exec", "--out", "sealed.json", "--", "true"]).status, 0);
    let before = place.run(&["verify", "sealed.json"]);
    place.write("sealstone.toml", "this is not TOML");
    let after = place.run(&["verify", "sealed.json"]);
    assert_eq!((before.status, &before.stdout), (after.status, &after.stdout));
    assert_eq!(place.run(&["verify", "sealed.json", "--config", "x"]).status, 64);
}

#[test]
fn help_tells_of_the_file() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["serve", "--help"], &["exec", "--help"], &["run", "open", "--help"]]
    {
        let help = place.run(arguments);
        assert_eq!(help.status, 0);
        assert!(help.stdout.contains("sealstone.toml"), "{arguments:?}");
    }
}
