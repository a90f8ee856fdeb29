//! Streams of log lines.

use crate::place::Place;
use crate::server::Server;
use crate::sse::Stream;

#[test]
fn a_stream_says_where_it_begins_before_anything_else() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let mut stream = Stream::open(&server, &format!("/v1/runs/{run}/events"), &[]);
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert!(stream.block().unwrap().starts_with("retry: "));
    assert_eq!(stream.next().unwrap().name, "stream_open");
    let started = stream.next_named("run_started");
    assert_eq!((started.id.as_deref(), stream.last_id.as_deref()), (Some("0"), Some("0")));
    assert!(started.raw.starts_with("id: 0\nevent: run_started\ndata: "));
    stream.hang_up();
    server.post(&format!("/v1/runs/{run}/finalize"), &serde_json::json!({ "result": "failed" }));
    let mut stream = Stream::open(&server, &format!("/v1/runs/{run}/events"), &[]);
    assert_eq!((stream.all().last().unwrap().name.as_str(), stream.cut), ("run_finalized", false));
    let gone = Stream::open(&server, &format!("/v1/runs/{run}/events"), &[("Last-Event-ID", "2")]);
    assert_eq!(gone.status, 204);
    let bad = Stream::open(&server, &format!("/v1/runs/{run}/events?from=x"), &[]);
    assert_eq!(bad.json()["code"], "parameter_invalid");
}
