//! Events in one process: two who listen, one of them late. `cargo run --example events`
#![allow(clippy::unwrap_used, reason = "an example stops by a panic")]

use std::time::{SystemTime, UNIX_EPOCH};

use sealstone::events::{Channel, Events, Filter, Preset, Replay};
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::time::Timestamp;
use tokio_stream::StreamExt as _;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap())
}

async fn print(who: &str, mut events: Events) {
    while let Some(event) = events.next().await {
        println!("{who}: {} {}", event.id().unwrap_or_default(), event.data());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let channel = Channel::new("example", 1 << 20);
    // Hears tokens and steps, from now on.
    let chat = channel.subscribe(Preset::Chat.into(), Replay::Nothing);
    let follower = tokio::spawn(print("chat", chat));
    channel.publish("run_started", now(), Object::new()).unwrap();
    for text in ["a ", "piece ", "at ", "a ", "time"] {
        channel.publish("token", now(), Object::from_iter([("text", Value::from(text))])).unwrap();
    }
    channel.publish("custom:reviewed", now(), Object::new()).unwrap();
    // Comes late, and hears what was before.
    let late = channel.subscribe(Filter::types(["custom:reviewed"]).unwrap(), Replay::All);
    channel.close();
    print("late", late).await;
    follower.await.unwrap();
}
