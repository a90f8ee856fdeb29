//! Pages of events: bounded, and together all of them.

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];
const JSON: &[(&str, &str)] = &[("Accept", "application/json")];

/// Records so many events, each with a message that is so long.
fn record(server: &Server, run: &str, count: usize, message: usize) {
    let event = json!({ "type": "event", "name": "checkpoint", "message": "m".repeat(message) });
    let lines = format!("{event}\n").repeat(count);
    let answer = server.request("POST", &format!("/v1/runs/{run}/entries"), NDJSON, lines.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn page(server: &Server, run: &str, query: &str) -> Value {
    let answer = server.request("GET", &format!("/v1/runs/{run}/events?{query}"), JSON, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.len() < (4 << 20) + 1_000, "{}", answer.body.len());
    answer.json()
}

/// The positions on each page, from the first to where nothing comes.
fn pages(server: &Server, run: &str, query: &str) -> Vec<Vec<u64>> {
    let end = server.get(&format!("/v1/runs/{run}?envelope=false")).json()["pos"].as_u64().unwrap() + 1;
    let (mut pages, mut next) = (Vec::new(), 0);
    while next < end {
        let page = page(server, run, &format!("{query}&from={next}"));
        let events = page["events"].as_array().unwrap();
        pages.push(events.iter().map(|event| event["pos"].as_u64().unwrap()).collect());
        assert!(page["next"].as_u64().unwrap() > next);
        next = page["next"].as_u64().unwrap();
    }
    pages
}

#[test]
fn a_page_is_of_so_many_bytes_at_most_and_the_next_one_goes_on() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    record(&server, &run, 500, 15 << 10);
    let all = pages(&server, &run, "limit=1000");
    assert_eq!(all.len(), 2);
    assert_eq!(all.concat(), (0..501).collect::<Vec<u64>>());
    assert_eq!(
        pages(&server, &run, "limit=100").iter().map(Vec::len).collect::<Vec<_>>(),
        [100, 100, 100, 100, 100, 1]
    );
}

#[test]
fn a_page_that_nothing_is_on_says_where_to_go_on_before_it_has_read_all() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    record(&server, &run, 10_000, 1);
    record(&server, &run, 5_000, 1);
    assert_eq!(pages(&server, &run, "types=custom:none&limit=1"), [vec![0], vec![], vec![]]);
}

#[test]
fn a_page_begins_where_it_is_asked_to_and_what_is_for_streams_is_refused() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    record(&server, &run, 10, 1);
    let first = |query: &str| page(&server, &run, query)["events"][0]["pos"].clone();
    assert_eq!((first(""), first("from=earliest"), first("from=3")), (json!(0), json!(0), json!(3)));
    std::thread::sleep(std::time::Duration::from_millis(5));
    record(&server, &run, 1, 1);
    let last = page(&server, &run, "from=11")["events"][0].clone();
    let since = page(&server, &run, &format!("since={}", last["at"].as_str().unwrap()));
    assert_eq!((&since["events"], &since["next"]), (&json!([last]), &json!(12)));
    assert_eq!(first("since=2000-01-01T00:00:00.000Z"), 0);
    assert_eq!(page(&server, &run, "from=latest"), json!({ "events": [], "next": 12, "closed": false }));
    for query in ["heartbeat=5", "last_event_id=3", "since=now", "from=x", "from=9007199254740992", "limit=0"]
    {
        let refused = server.request("GET", &format!("/v1/runs/{run}/events?{query}"), JSON, b"");
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("parameter_invalid")), "{query}");
    }
}
