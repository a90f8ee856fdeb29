//! A data directory of every layout there was is still opened, read and gone on with.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::place::Place;
use crate::server::Server;

#[test]
fn a_data_directory_of_each_layout_opens_and_its_runs_go_on() {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/stores");
    let mut opened = 0;
    for entry in fs::read_dir(stores).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(engine) = name.strip_prefix("layout-").and_then(|name| name.strip_suffix(".tar.gz")) else {
            continue;
        };
        let (_, engine) = engine.split_once('-').unwrap();
        let place = Place::new();
        fs::create_dir(place.path("records")).unwrap();
        let tar =
            Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(place.path("records")).status().unwrap();
        assert!(tar.success());
        let mut server = Server::start(&place, &["--engine", engine]);
        assert_eq!(server.get("/v1/runs").json()["runs"].as_array().unwrap().len(), 2, "{name}");
        let sealed = server.get("/v1/runs/sealed").json();
        let verification = format!("/v1/envelopes/{}/verification", sealed["evidence_id"].as_str().unwrap());
        assert_eq!(server.get(&verification).json()["verdict"], "verified", "{name}");
        let open = server.get("/v1/runs/open").json();
        assert_eq!(open["pending_steps"][0]["step_id"], "unit");
        assert_eq!(open["open_gates"][0]["gate_id"], "waiting");
        assert_eq!(
            server.post("/v1/runs/open/gates/waiting", &json!({ "decision": "approved" })).status,
            200
        );
        if !name.starts_with("layout-1") {
            let log = |run: &str| server.get(&format!("/v1/runs/{run}/logs?step_id=unit")).body;
            assert_eq!(
                (log("sealed"), log("open")),
                (b"first line\nsecond line\n".to_vec(), b"so far\nand".to_vec())
            );
        }
        let step = json!({ "type": "step", "step_id": "unit", "status": "passed" });
        assert_eq!(server.post("/v1/runs/open/entries", &step).status, 200);
        assert_eq!(server.post("/v1/runs/open/finalize", &json!({ "result": "succeeded" })).status, 200);
        // The next run of the project has the next number.
        let next = server.open();
        assert_eq!(server.get(&format!("/v1/runs/{next}")).json()["envelope"]["run"]["project_seq"], 2);
        assert_eq!(server.get("/v1/runs?state=open").json()["runs"].as_array().unwrap().len(), 1);
        server.kill();
        let checked = place.run(&["store", "check", "--data-dir", "records"]);
        assert_eq!(checked.status, 0, "{checked:?}");
        opened += 1;
    }
    assert!(opened >= 4, "{opened} data directories");
}

#[test]
fn records_of_a_newer_layout_are_neither_copied_nor_written_anew() {
    let place = Place::new();
    drop(Server::start(&place, &[]));
    let newer = r#"{"engine":"fjall","layout":4000000000}"#;
    place.write("records/store.json", newer);
    for command in [["compact", "--json"], ["backup", "--out=b"]] {
        let refused = place.run(&[["store"].as_slice(), &command, &["--data-dir", "records"]].concat());
        assert!(refused.status == 73 && refused.stderr.contains("use the newer program"), "{refused:?}");
    }
    assert!(!place.path("b").exists());
    assert_eq!(fs::read_to_string(place.path("records/store.json")).unwrap(), newer);
}

#[test]
fn a_check_of_what_is_no_data_directory_says_so_and_makes_none() {
    let place = Place::new();
    let checked = place.run(&["store", "check", "--data-dir", "nowhere"]);
    assert!(checked.status == 73 && checked.stderr.contains("store.json"), "{checked:?}");
    assert!(!place.path("nowhere").exists());
}
