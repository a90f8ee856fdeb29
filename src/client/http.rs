//! Requests, tried again with one idempotency key until they are answered.

use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    RETRY_AFTER,
};
use reqwest::{Certificate, Method, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use tokio::time::timeout;

use super::error::{ClientError, chain, is_untrusted, without_user};
use crate::evidence::digest::Digest;

/// How long one try may take; a seal of the largest run, and a wait for a gate, are below it.
const TRY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an answer of any size may take, and each piece of it.
const POUR_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const PIECE_TIMEOUT: Duration = Duration::from_secs(600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer is at most a sealed envelope of the largest size, and what is around it.
const MAX_ANSWER_BYTES: usize = 160 << 20;

/// What says no is short, and is told to people.
const MAX_PROBLEM_BYTES: usize = 64 << 10;
const MAX_DETAIL_BYTES: usize = 2 << 10;

const EVENT_STREAM: &str = "text/event-stream";
const PROBLEM: &str = "application/problem+json";
/// The code of an answer that is no problem: something between us and the service gave it.
pub(super) const NO_PROBLEM: &str = "http";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// How calls are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Until then; the first try is made in any case.
    pub give_up_after: Duration,
    /// The first pause; each is twice the one before, up to 2 s, less a random part.
    pub first_pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { give_up_after: Duration::from_secs(10), first_pause: Duration::from_millis(50) }
    }
}

/// A client of one service.
pub struct Client {
    base: Url,
    http: reqwest::Client,
    retry: Retry,
    /// Sent with every request, and shown nowhere.
    token: Option<HeaderValue>,
    random: Box<dyn Fn() -> [u8; 16] + Send + Sync>,
}

/// One request.
#[derive(Default)]
pub(super) struct Call<'c> {
    pub(super) method: Method,
    /// Segments of the path, not encoded.
    pub(super) path: &'c [&'c str],
    pub(super) query: &'c [(&'c str, &'c str)],
    pub(super) body: Option<(&'static str, Bytes)>,
    pub(super) if_match: Option<Digest>,
    /// By which the service knows it again; without, a fresh one for all tries.
    pub(super) key: Option<&'c str>,
    /// Where the bytes go.
    pub(super) upload_offset: Option<u64>,
}

/// What an answer is, as far as every caller needs it.
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) upload_offset: Option<u64>,
}

/// What of a problem (RFC 9457) we look at.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    pointer: Option<String>,
}

/// The body of an answer that goes on for as long as it likes.
pub(super) struct Pieces(Response);

pub(super) enum Failed {
    /// Trying again may help; the service said when.
    Again {
        why: String,
        after: Option<Duration>,
    },
    ForGood(ClientError),
}

impl Pieces {
    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<impl AsRef<[u8]>>, Failed> {
        self.0.chunk().await.map_err(again)
    }
}

impl Client {
    /// A client of the service at that address, like `http://127.0.0.1:7325`, with a token if it asks for one. `authorities` are
    /// certificates, PEM, that are trusted besides those of the machine. `random` gives
    /// fresh random bytes.
    pub fn new(
        url: &str,
        token: Option<&str>,
        authorities: &[Vec<u8>],
        retry: Retry,
        random: impl Fn() -> [u8; 16] + Send + Sync + 'static,
    ) -> Result<Self, ClientError> {
        let wrong = |why: String| ClientError::Url { url: without_user(url), why };
        let base = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !["http", "https"].contains(&base.scheme()) || base.host().is_none() {
            return Err(wrong("https://HOST or http://HOST:PORT expected".into()));
        }
        // The first in the process stays; all are this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sealstone/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TRY_TIMEOUT)
            .tcp_nodelay(true);
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("no name and no password belong into it; give a token".into()));
        }
        let host = base.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse();
        if host == "localhost" || address.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()) {
            // This machine is not reached through another.
            builder = builder.no_proxy();
        } else if token.is_some() && base.scheme() == "http" {
            return Err(wrong("a token must not travel in the open; use https://".into()));
        }
        for authority in authorities {
            let certificate = Certificate::from_pem(authority).map_err(|error| wrong(chain(&error)))?;
            builder = builder.add_root_certificate(certificate);
        }
        let http = builder.build().map_err(|error| wrong(chain(&error)))?;
        if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(ClientError::Token);
        }
        let token = match token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))) {
            None => None,
            Some(Ok(mut token)) => {
                token.set_sensitive(true);
                Some(token)
            }
            Some(Err(_)) => return Err(ClientError::Token),
        };
        Ok(Self { base, http, retry, token, random: Box::new(random) })
    }

    /// Hands on an answer of any size as it comes. It is asked for once: nobody knows what was done with the part that came.
    pub(super) async fn pour(
        &self,
        path: &[&str],
        mut into: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        let mut request = self.http.get(self.url(path, &[])).timeout(POUR_TIMEOUT);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let started = Instant::now();
        let away = |why: String| ClientError::Away { why, tried: started.elapsed() };
        let late = || away("nothing came for too long".into());
        let failed = |failed| match failed {
            Failed::Again { why, .. } => away(why),
            Failed::ForGood(error) => error,
        };
        let sent = timeout(PIECE_TIMEOUT, send(request)).await.map_err(|_| late())?;
        let mut response = sent.map_err(failed)?;
        loop {
            let piece = timeout(PIECE_TIMEOUT, response.chunk()).await.map_err(|_| late())?;
            match piece.map_err(|error| away(chain(&error)))? {
                Some(piece) => into(&piece).map_err(|error| ClientError::Kept { why: error.to_string() })?,
                None => return Ok(()),
            }
        }
    }

    /// Opens an event stream behind that cursor, once; `None` where there is nothing more to come.
    pub(super) async fn event_stream(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        last_event_id: &str,
    ) -> Result<Option<Pieces>, Failed> {
        let mut request = self.http.get(self.url(path, query)).timeout(POUR_TIMEOUT);
        request = request.header(ACCEPT, EVENT_STREAM).header(CACHE_CONTROL, "no-store");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if !last_event_id.is_empty() {
            request = request.header("last-event-id", last_event_id.as_bytes());
        }
        let response = send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        match content_type(&response).eq_ignore_ascii_case(EVENT_STREAM) {
            true => Ok(Some(Pieces(response))),
            false => Err(Failed::ForGood(ClientError::Answer { why: "it is no event stream".into() })),
        }
    }

    /// The address of the service.
    pub(crate) fn server(&self) -> &str {
        self.base.as_str()
    }

    pub(super) fn retry(&self) -> Retry {
        self.retry
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// Tries until there is an answer, or it is time to give up. All tries have one idempotency key.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answered, ClientError> {
        let url = self.url(call.path, call.query);
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let mut put = |name: HeaderName, value: String| {
            headers.insert(name, HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("")));
        };
        if let Some((content_type, _)) = &call.body {
            put(CONTENT_TYPE, (*content_type).to_owned());
        }
        if let Some(head) = call.if_match {
            put(IF_MATCH, format!("\"{head}\""));
        }
        match call.upload_offset {
            Some(offset) => put(UPLOAD_OFFSET, offset.to_string()),
            None if call.method == Method::POST => {
                put(IDEMPOTENCY_KEY, call.key.map_or_else(|| self.fresh_key(), str::to_owned));
            }
            None => {}
        }
        // A long wait for an answer is no failure: the time runs from the first one.
        let mut failing_since = None;
        let mut pause = self.retry.first_pause;
        loop {
            let mut request = self.http.request(call.method.clone(), url.clone()).headers(headers.clone());
            if let Some((_, body)) = &call.body {
                request = request.body(body.clone());
            }
            match once(request).await {
                Ok(answered) => return Ok(answered),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::Again { why, after }) => {
                    let tried = failing_since.get_or_insert_with(Instant::now).elapsed();
                    let wait = self.jitter(pause).max(after.unwrap_or_default());
                    if tried.saturating_add(wait) > self.retry.give_up_after {
                        return Err(ClientError::Away { why, tried });
                    }
                    tokio::time::sleep(wait).await;
                    pause = pause.saturating_mul(2).min(Duration::from_secs(2));
                }
            }
        }
    }

    /// A key that no request had before.
    pub(super) fn fresh_key(&self) -> String {
        (self.random)().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Between half of it and all of it.
    pub(super) fn jitter(&self, pause: Duration) -> Duration {
        let [byte, ..] = (self.random)();
        pause.mul_f64(0.5 + f64::from(byte) / 512.0)
    }
}

async fn once(request: reqwest::RequestBuilder) -> Result<Answered, Failed> {
    let response = send(request).await?;
    let upload_offset = number(&response, UPLOAD_OFFSET);
    Ok(Answered { body: body(response, MAX_ANSWER_BYTES).await?, upload_offset })
}

fn again(error: reqwest::Error) -> Failed {
    let why = chain(&error);
    // Who is not trusted now is not trusted in a moment.
    match is_untrusted(&error) {
        true => Failed::ForGood(ClientError::Untrusted { why }),
        false => Failed::Again { why, after: None },
    }
}

async fn body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(again)? {
        body.extend_from_slice(&chunk);
        if body.len() > max_bytes {
            return Err(Failed::ForGood(ClientError::Answer { why: "it is too large".into() }));
        }
    }
    Ok(body)
}

/// The answer to one try, if it is what was asked for; its body is still to come.
async fn send(request: reqwest::RequestBuilder) -> Result<Response, Failed> {
    let response = request.send().await.map_err(again)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let (after, upload_offset) = (number(&response, RETRY_AFTER), number(&response, UPLOAD_OFFSET));
    let is_problem = content_type(&response).eq_ignore_ascii_case(PROBLEM);
    // What says no counts by its status, however much it says.
    let body = match body(response, MAX_PROBLEM_BYTES).await {
        Err(Failed::ForGood(_)) => Vec::new(),
        body => body?,
    };
    let problem = is_problem.then(|| serde_json::from_slice(&body).ok()).flatten();
    let mut problem = problem.unwrap_or_else(|| Problem {
        code: NO_PROBLEM.into(),
        detail: status.canonical_reason().unwrap_or("no reason given").into(),
        pointer: None,
    });
    problem.detail.truncate(problem.detail.floor_char_boundary(MAX_DETAIL_BYTES));
    // What a service cannot do now, whatever the reason, it may be able to do in a moment.
    let may_pass = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
    match status.is_server_error() || may_pass {
        true => Err(Failed::Again {
            why: format!("{} ({}): {}", problem.code, status.as_u16(), problem.detail),
            after: after.map(Duration::from_secs),
        }),
        false => Err(Failed::ForGood(ClientError::Refused {
            status: status.as_u16(),
            code: problem.code,
            detail: problem.detail,
            pointer: problem.pointer,
            upload_offset,
        })),
    }
}

fn number(response: &Response, name: HeaderName) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// Without its parameters; empty where there is none.
fn content_type(response: &Response) -> &str {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}
