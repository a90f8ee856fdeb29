//! A subscription: the events of a stream in order, over as many connections as it takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::calls::named;
use super::error::ClientError;
use super::http::{Client, Failed, Pieces};
use super::sse::{Event, Parser, TooLarge};

/// Seconds between two signs of life, as asked for.
const HEARTBEAT: &str = "15";
/// After three of them without one the connection is dead, whatever the machine between says.
const SILENCE: Duration = Duration::from_secs(3 * 15);
/// A stream that wants its clients to stay away for longer is not believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const RUN_FINALIZED: &str = "run_finalized";
const STREAM_GAP: &str = "stream_gap";
const STREAM_OPEN: &str = "stream_open";

/// What is sent by one of the service's event streams, from where it was left when a connection ends.
///
/// It connects again after the pause that the service asks for, and gives up, by the client's [`Retry`](super::Retry), only when nothing
/// at all came for that long. What the service refuses, it refuses for good.
pub struct Subscription<'c> {
    client: &'c Client,
    path: Vec<String>,
    query: Vec<(String, String)>,
    silence: Duration,
    /// The ids are places in a journal, each of which is handed on once.
    is_of_run: bool,
    last_pos: Option<u64>,
    connection: Option<Pieces>,
    /// Of this connection, or of the one before.
    parser: Parser,
    events: VecDeque<Event>,
    failures: Failures,
    over: bool,
}

/// Since when nothing came, and what is paused next.
struct Failures {
    since: Option<Instant>,
    pause: Duration,
}

impl Client {
    /// The events of a run, from its first, until it is sealed: `preset`, `types`, `project` and so on, as the route has them.
    pub fn run_events(&self, run: &str, query: &[(&str, &str)]) -> Subscription<'_> {
        let (run, project) = named(run);
        Subscription::new(self, &["v1", "runs", run, "events"], &[&project, query].concat(), true)
    }

    /// The lines that the steps of a run write from now on; those from before with `from`.
    pub fn run_logs(&self, run: &str, query: &[(&str, &str)]) -> Subscription<'_> {
        let (run, project) = named(run);
        Subscription::new(self, &["v1", "runs", run, "logs", "stream"], &[&project, query].concat(), true)
    }

    /// The events of all runs, from now on: `run`, `project`, `preset` and so on, as the route has them.
    pub fn events(&self, query: &[(&str, &str)]) -> Subscription<'_> {
        Subscription::new(self, &["v1", "events"], query, false)
    }

    /// The lines that the steps of all runs write from now on.
    pub fn logs(&self, query: &[(&str, &str)]) -> Subscription<'_> {
        Subscription::new(self, &["v1", "logs", "stream"], query, false)
    }
}

impl<'c> Subscription<'c> {
    fn new(client: &'c Client, path: &[&str], query: &[(&str, &str)], is_of_run: bool) -> Self {
        let mut query: Vec<_> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        query.push(("heartbeat".into(), HEARTBEAT.into()));
        Self {
            client,
            path: path.iter().map(|segment| (*segment).to_owned()).collect(),
            query,
            silence: SILENCE,
            is_of_run,
            last_pos: None,
            connection: None,
            parser: Parser::default(),
            events: VecDeque::new(),
            failures: Failures { since: None, pause: client.retry().first_pause },
            over: false,
        }
    }

    /// Another silence after which a connection counts as dead. It has to be some of the service's heartbeats long.
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// The next event; `None` once the stream is at its end, which the streams of a run come to.
    ///
    /// `stream_open`, `stream_gap` and `heartbeat` are events like the others. After a `stream_gap` what was there before may come again.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            while let Some(event) = self.events.pop_front() {
                if self.is_new(&event) {
                    self.over |= self.is_of_run && event.event == RUN_FINALIZED;
                    return Ok(Some(event));
                }
            }
            if self.over {
                self.connection = None;
                return Ok(None);
            }
            match self.read().await {
                Ok(()) => {}
                Err(Failed::ForGood(error)) => {
                    (self.connection, self.over) = (None, true);
                    return Err(error);
                }
                Err(Failed::Again { why, after }) => {
                    self.connection = None;
                    self.pause(why, after).await?;
                }
            }
        }
    }

    /// Whether it was not handed on before.
    fn is_new(&mut self, event: &Event) -> bool {
        if event.event == STREAM_GAP {
            self.last_pos = None;
        }
        // The first thing that a stream says has the id after which it begins.
        let record = self.is_of_run && event.has_own_id && event.event != STREAM_OPEN;
        let pos = event.id.parse::<u64>().ok().filter(|_| record);
        if pos.is_some() && pos <= self.last_pos {
            return false;
        }
        self.last_pos = pos.or(self.last_pos);
        true
    }

    /// Connects, or takes what comes next of the connection there is.
    async fn read(&mut self) -> Result<(), Failed> {
        let again = |why: &str| Failed::Again { why: why.into(), after: None };
        let Some(connection) = &mut self.connection else {
            let connected =
                timeout(self.silence, connect(self.client, &self.path, &self.query, &self.parser)).await;
            let connected = connected.map_err(|_| again("no answer came for too long"))??;
            let Some(connection) = connected else {
                self.over = true;
                return Ok(());
            };
            self.parser = std::mem::take(&mut self.parser).resumed();
            self.connection = Some(connection);
            return Ok(());
        };
        let piece = timeout(self.silence, connection.next()).await;
        let piece = piece.map_err(|_| again("nothing came for too long"))??;
        let piece = piece.ok_or_else(|| again("the connection ended"))?;
        self.failures = Failures { since: None, pause: self.client.retry().first_pause };
        self.parser.feed(piece.as_ref(), &mut self.events).map_err(|TooLarge| {
            Failed::ForGood(ClientError::Answer { why: "an event in it is too large".into() })
        })
    }

    /// Waits before the next connection, unless nothing came for so long that there shall be none.
    async fn pause(&mut self, why: String, after: Option<Duration>) -> Result<(), ClientError> {
        let Failures { since, pause } = &mut self.failures;
        let tried = since.get_or_insert_with(Instant::now).elapsed();
        if tried > self.client.retry().give_up_after {
            self.over = true;
            return Err(ClientError::Away { why, tried });
        }
        // Not before the time that the service named, if it is a sane one, and not all at once.
        let asked = self.parser.retry().unwrap_or_default().max(after.unwrap_or_default()).min(LONGEST_PAUSE);
        let wait = asked.max(*pause);
        let wait = wait.saturating_add(self.client.jitter(wait.mul_f64(0.25)));
        *pause = pause.saturating_mul(2).min(Duration::from_secs(2));
        sleep(wait).await;
        Ok(())
    }
}

async fn connect(
    client: &Client,
    path: &[String],
    query: &[(String, String)],
    parser: &Parser,
) -> Result<Option<Pieces>, Failed> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.event_stream(&path, &query, parser.last_event_id()).await
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::http::Retry;
    use super::*;

    const OPEN: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\nretry: 1\n\n";
    const OVER: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    /// A service that answers each connection with the next of these bytes and closes it, or leaves it as it is where they end with `…`.
    /// After the last one it is gone.
    async fn fake(answers: &[&str]) -> (Client, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, heard) = (answers.iter().map(ToString::to_string).collect::<Vec<_>>(), asked.clone());
        tokio::spawn(async move {
            let mut left_open = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let n = stream.read(&mut request).await.unwrap();
                heard.lock().unwrap().push(String::from_utf8_lossy(&request[..n]).to_lowercase());
                let bytes = answer.trim_end_matches('…');
                stream.write_all(bytes.as_bytes()).await.unwrap();
                if bytes != answer {
                    left_open.push(stream);
                }
            }
        });
        let retry = Retry { give_up_after: Duration::from_secs(1), first_pause: Duration::from_millis(1) };
        (Client::new(&url, None, &[], retry, || [0; 16]).unwrap(), asked)
    }

    fn open(events: &str) -> String {
        OPEN.to_owned() + events
    }

    /// The data of the events to the end, and how it ended.
    async fn all(mut subscription: Subscription<'_>) -> (Vec<String>, Result<(), ClientError>) {
        let mut found = Vec::new();
        loop {
            match subscription.next().await {
                Ok(Some(event)) => found.push(event.data),
                Ok(None) => return (found, Ok(())),
                Err(error) => return (found, Err(error)),
            }
        }
    }

    fn cursor(request: &str) -> Option<&str> {
        request.lines().find_map(|line| line.strip_prefix("last-event-id: "))
    }

    #[tokio::test]
    async fn a_stream_that_breaks_goes_on_behind_what_came_whole() {
        let first = open("id: 0\ndata: a\n\nid: 1\ndata: b\n\ndata: signal\n\nid: 2\ndata: cut");
        let second = open("data: open\n\nid: 2\ndata: c\n\nid: 3\nevent: run_finalized\ndata: d\n\n…");
        let (client, asked) = fake(&[&first, &second]).await;
        let (found, ended) = all(client.run_events("r", &[("preset", "all")])).await;
        assert_eq!((found.join(" ").as_str(), ended), ("a b signal open c d", Ok(())));
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with("get /v1/runs/r/events?preset=all&heartbeat=15 "), "{asked:?}");
        assert!(asked[0].contains("accept: text/event-stream"), "{asked:?}");
        assert_eq!([cursor(&asked[0]), cursor(&asked[1])], [None, Some("1")]);
    }

    #[tokio::test]
    async fn the_cursor_moves_with_an_id_alone_and_stays_over_a_connection_without_one() {
        let (client, asked) =
            fake(&[&open("id: 7\n\n"), &open("data: open\n\n"), &open(":\n\n"), OVER]).await;
        assert_eq!(all(client.run_events("r", &[])).await, (vec!["open".into()], Ok(())));
        let asked = asked.lock().unwrap();
        assert_eq!(
            asked.iter().map(|asked| cursor(asked)).collect::<Vec<_>>(),
            [None, Some("7"), Some("7"), Some("7")]
        );
    }

    #[tokio::test]
    async fn what_is_sent_again_is_handed_on_once_unless_there_was_a_gap() {
        let first = open("id: 3\ndata: a\n\n");
        let again = open("id: 2\ndata: x\n\nid: 3\ndata: a\n\nid: 4\ndata: b\n\n");
        let gap = open("event: stream_gap\ndata: gap\n\nid: 0\ndata: c\n\n");
        let (client, _) = fake(&[&first, &again, &gap, OVER]).await;
        assert_eq!(all(client.run_events("r", &[])).await.0, ["a", "b", "gap", "c"]);
    }

    #[tokio::test]
    async fn ids_that_are_no_places_in_a_journal_say_nothing_of_repeats() {
        let (client, asked) =
            fake(&[&open("id: 9-9\ndata: a\n\n"), &open("id: a-1\ndata: b\n\n"), OVER]).await;
        assert_eq!(all(client.events(&[("run", "r")])).await, (vec!["a".into(), "b".into()], Ok(())));
        assert_eq!(cursor(&asked.lock().unwrap()[1]), Some("9-9"));
    }

    #[tokio::test]
    async fn a_service_that_is_busy_or_starting_is_asked_again() {
        let busy = |status: &str| format!("HTTP/1.1 {status}\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n");
        let answers =
            [busy("503 x"), busy("502 x"), busy("429 x"), String::new(), open("data: a\n\n"), OVER.into()];
        let (client, _) = fake(&answers.each_ref().map(String::as_str)).await;
        assert_eq!(all(client.run_events("r", &[])).await, (vec!["a".into()], Ok(())));
    }

    #[tokio::test]
    async fn what_is_refused_is_refused_for_good() {
        let problem = "HTTP/1.1 404 x\r\nContent-Type: application/problem+json\r\nContent-Length: 38\r\n\r\n{\"code\":\"run_unknown\",\"detail\":\"none\"}";
        let (client, asked) = fake(&[problem, OVER]).await;
        let mut subscription = client.run_events("r", &[]);
        let refused = subscription.next().await;
        assert!(
            matches!(&refused, Err(ClientError::Refused { status: 404, code, .. }) if code == "run_unknown"),
            "{refused:?}"
        );
        assert_eq!((subscription.next().await, asked.lock().unwrap().len()), (Ok(None), 1));
        let (client, _) = fake(&["HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"]).await;
        assert!(matches!(all(client.logs(&[])).await.1, Err(ClientError::Answer { .. })));
    }

    #[tokio::test]
    async fn a_connection_that_is_silent_is_left() {
        let answers = [open("id: 0\ndata: a\n\n…"), "…".into(), open("id: 1\ndata: b\n\n"), OVER.into()];
        let (client, asked) = fake(&answers.each_ref().map(String::as_str)).await;
        let subscription = client.run_events("r", &[]).with_silence(Duration::from_millis(300));
        assert_eq!(all(subscription).await, (vec!["a".into(), "b".into()], Ok(())));
        assert_eq!(cursor(&asked.lock().unwrap()[2]), Some("0"));
    }

    #[tokio::test]
    async fn it_gives_up_when_nothing_came_for_long() {
        let (client, _) = fake(&[&open("data: a\n\n")]).await;
        let (found, ended) = all(client.run_events("r", &[])).await;
        assert_eq!(found, ["a"]);
        assert!(
            matches!(ended, Err(ClientError::Away { tried, .. }) if tried >= Duration::from_secs(1)),
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn an_event_beyond_all_sense_is_no_reason_to_come_again() {
        let (client, asked) =
            fake(&[&open(&format!("data: a\n\ndata: {}", "x".repeat(17 << 20))), OVER]).await;
        let (found, ended) = all(client.run_events("r", &[])).await;
        assert_eq!((found.len(), asked.lock().unwrap().len()), (1, 1));
        assert!(matches!(ended, Err(ClientError::Answer { .. })), "{ended:?}");
    }
}
