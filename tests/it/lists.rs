//! Lists: what a filter takes is found, the newest first, each once, whoever asks for how many at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Server};

fn digest(n: usize) -> String {
    format!("sha256:{}", n.to_string().repeat(64))
}

/// Runs of several projects that differ in everything that lists know; their summaries, the newest first.
fn made(server: &Server) -> Vec<Value> {
    for n in 0..60_usize {
        let project = ["acme/web", "acme/api", "other"][n % 3];
        let opened = server.post(
            "/v1/runs",
            &json!({
                "project": project,
                "labels": { "team": (["red", "blue"][n % 2]), "n": n.to_string() },
                "subject": { "commit_sha": format!("{}", n % 5) },
            }),
        );
        let run = opened.json()["evidence_id"].as_str().unwrap().to_owned();
        for artifact in 0..n % 4 {
            let artifact = json!({ "type": "artifact", "artifact_id": format!("a{artifact}"), "digest": digest(artifact) });
            assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &artifact).status, 200);
        }
        if !n.is_multiple_of(7) {
            let result = ["succeeded", "failed", "aborted"][n % 3];
            assert_eq!(
                server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": result })).status,
                200
            );
        }
    }
    pages(|query| server.get(&format!("/v1/runs?{query}")), "runs", 1_000, "")
}

/// All pages of a list, of so many runs each.
fn pages(get: impl Fn(&str) -> Answer, member: &str, limit: usize, filter: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = get(&format!("limit={limit}&{filter}{cursor}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let runs = page[member].as_array().unwrap();
        assert!(runs.len() <= limit);
        found.extend(runs.iter().cloned());
        match page["next"].as_str() {
            Some(next) => {
                assert!(answer.header("link").unwrap().contains(next));
                cursor = format!("&cursor={next}");
            }
            None => return found,
        }
    }
}

fn ids(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["evidence_id"].as_str().unwrap()).collect()
}

#[test]
fn every_filter_finds_what_it_takes_once_the_newest_first() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let all = made(&server);
    assert_eq!(all.len(), 60);
    assert!(ids(&all).is_sorted_by(|a, b| a > b));
    let middle = all[30]["opened_at"].as_str().unwrap();
    type Takes<'t> = Box<dyn Fn(&Value) -> bool + 't>;
    let filters: Vec<(String, Takes<'_>)> = vec![
        (String::new(), Box::new(|_| true)),
        ("project=acme/api".into(), Box::new(|run| run["project"] == "acme/api")),
        ("project=nothing".into(), Box::new(|_| false)),
        ("state=open".into(), Box::new(|run| run["state"] == "open")),
        (
            "state=sealed&project=other".into(),
            Box::new(|run| run["state"] == "sealed" && run["project"] == "other"),
        ),
        ("result=failed".into(), Box::new(|run| run["result"] == "failed")),
        (
            "result=succeeded&label=team:red".into(),
            Box::new(|run| run["result"] == "succeeded" && run["labels"]["team"] == "red"),
        ),
        ("commit_sha=3".into(), Box::new(|run| run["subject"]["commit_sha"] == "3")),
        (
            "commit_sha=3&state=open".into(),
            Box::new(|run| run["subject"]["commit_sha"] == "3" && run["state"] == "open"),
        ),
        ("label=n:17".into(), Box::new(|run| run["labels"]["n"] == "17")),
        (
            "label=team:blue&label=n:17".into(),
            Box::new(|run| run["labels"]["n"] == "17" && run["labels"]["team"] == "blue"),
        ),
        (format!("opened_after={middle}"), Box::new(move |run| run["opened_at"].as_str().unwrap() > middle)),
        (
            format!("opened_before={middle}&label=team:red"),
            Box::new(move |run| {
                run["opened_at"].as_str().unwrap() < middle && run["labels"]["team"] == "red"
            }),
        ),
    ];
    for (filter, takes) in filters {
        let wanted: Vec<Value> = all.iter().filter(|run| takes(run)).cloned().collect();
        for limit in [1, 7, 1_000] {
            let found = pages(|query| server.get(&format!("/v1/runs?{query}")), "runs", limit, &filter);
            assert_eq!(ids(&found), ids(&wanted), "{filter} by {limit}");
        }
    }
}

#[test]
fn envelopes_are_found_by_their_artifacts_and_by_when_they_were_sealed() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let all = made(&server);
    let sealed: Vec<&Value> = all.iter().filter(|run| run["state"] == "sealed").collect();
    let find = |server: &Server, limit, filter: &str| {
        pages(|query| server.get(&format!("/v1/envelopes?{query}")), "envelopes", limit, filter)
    };
    let counts: BTreeMap<usize, usize> = (0..4)
        .map(|n| {
            (n, sealed.iter().filter(|run| run["counts"]["artifacts"].as_u64() > Some(n as u64)).count())
        })
        .collect();
    for limit in [1, 7, 1_000] {
        assert_eq!(find(&server, limit, "").len(), sealed.len());
        for (n, count) in &counts {
            assert_eq!(find(&server, limit, &format!("artifact={}", digest(*n))).len(), *count);
        }
        let some = find(&server, limit, &format!("artifact={}&project=other&result=aborted", digest(0)));
        assert!(!some.is_empty());
        assert!(some.iter().all(|run| run["project"] == "other" && run["result"] == "aborted"));
    }
    // By when they were sealed, whenever they were opened.
    let oldest =
        all.iter().rev().find(|run| run["state"] == "open").unwrap()["evidence_id"].as_str().unwrap();
    assert_eq!(
        server.post(&format!("/v1/runs/{oldest}/finalize"), &json!({ "result": "failed" })).status,
        200
    );
    let found = find(&server, 1, "");
    assert_eq!(ids(&found)[0], oldest);
    let closed_at = found[1]["closed_at"].as_str().unwrap();
    assert!(ids(&find(&server, 9, &format!("sealed_after={closed_at}"))).contains(&oldest));
    assert!(!ids(&find(&server, 9, &format!("sealed_before={closed_at}"))).contains(&oldest));
    for (path, code) in [
        ("/v1/envelopes?artifact=sha256:x", "parameter_invalid"),
        ("/v1/envelopes?cursor=x", "parameter_invalid"),
        ("/v1/envelopes?state=open", "parameter_invalid"),
        ("/v1/runs?limit=0", "parameter_invalid"),
        ("/v1/runs?limit=1001", "parameter_invalid"),
    ] {
        let answer = server.get(path);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(code)), "{path}");
    }
    server.kill();
    let checked = place.run(&["store", "check", "--data-dir", "records"]);
    assert_eq!(checked.status, 0, "{checked:?}");
}

#[test]
fn a_token_lists_its_own_projects_and_no_cursor_names_a_run_of_another() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let all = made(&server);
    let made = server.post("/v1/tokens", &json!({ "name": "root", "role": "admin" })).json();
    let root = format!("Bearer {}", made["token"].as_str().unwrap());
    let make = |projects: Value| {
        let body = json!({ "name": "r", "role": "reader", "projects": projects }).to_string();
        let headers = [("Authorization", root.as_str()), ("Content-Type", "application/json")];
        let made = server.request("POST", "/v1/tokens", &headers, body.as_bytes()).json();
        format!("Bearer {}", made["token"].as_str().unwrap())
    };
    for (projects, own) in [
        (json!(["acme/*"]), vec!["acme/api", "acme/web"]),
        (json!(["other"]), vec!["other"]),
        (json!(["none"]), vec![]),
    ] {
        let token = make(projects);
        let sees = |run: &&Value| own.iter().any(|own| run["project"] == *own);
        let wanted: Vec<Value> = all.iter().filter(sees).cloned().collect();
        for path in ["/v1/runs", "/v1/envelopes"] {
            let get = |query: &str| {
                server.request("GET", &format!("{path}?{query}"), &[("Authorization", &token)], b"")
            };
            let found = pages(get, path.rsplit('/').next().unwrap(), 3, "result=failed");
            let mut wanted: Vec<&str> = ids(&wanted);
            wanted.retain(|id| all.iter().any(|run| run["evidence_id"] == *id && run["result"] == "failed"));
            let mut found = ids(&found);
            found.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(found, wanted);
        }
    }
}
