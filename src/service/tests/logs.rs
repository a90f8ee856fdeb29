//! What is read of logs for who watches.

use super::*;
use crate::service::logs::{LinePage, lines_from, lines_of_one};
use crate::service::{LogAppend, Stream};
use crate::store::Store;

#[test]
fn lines_are_read_by_what_they_take_as_json_one_at_least_and_none_once_they_are_deleted() {
    let world = World::new(Limits::default());
    let run = open(&world, r#"{"project":"p"}"#).unwrap();
    let step = r#"{"type":"step_started","step_id":"s","kind":"test"}"#;
    append(&world, &run, &[step.into()], None, None).unwrap();
    // Each of these characters is six in JSON.
    let line = |kib: usize| "\0".repeat(kib << 10) + "\n";
    let bytes = (line(200) + &line(10).repeat(10)).into_bytes();
    let log = LogAppend { step_id: "s".into(), attempt: 1, stream: Stream::Stdout, offset: None, bytes };
    RUNTIME.block_on(world.service.append_log(&run, log, &Caller::Local)).unwrap();
    let lines = |from: u64| -> Option<LinePage> {
        let id = run.clone();
        let read = world.service.read(move |store| lines_from(store, &id, from, (256, 128 << 10)));
        RUNTIME.block_on(read).unwrap()
    };
    let read = [0, 1, 10, 11].map(|from| {
        let page = lines(from).unwrap();
        (page.lines.iter().map(|line| line.line.log_pos).collect::<Vec<_>>(), page.more)
    });
    assert_eq!(read, [(vec![0], true), (vec![1, 2], true), (vec![10], false), (vec![], false)]);
    finalize(&world, &run, "failed").unwrap();
    let known = RUNTIME.block_on(world.service.logs(&run)).unwrap();
    RUNTIME.block_on(world.service.delete_logs(&Caller::Local, &run)).unwrap();
    assert!(lines(0).is_none());
    // Nor when they are deleted while somebody reads.
    let id = run.clone();
    let read = move |store: &dyn Store| lines_of_one(store, (&id, 0), known.numbered(0), 0, (256, 128 << 10));
    assert!(RUNTIME.block_on(world.service.read(read)).unwrap().is_none());
}
