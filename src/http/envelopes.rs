//! `/v1/envelopes` and `/v1/verify`: what auditors ask for.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::answer::{Answer, json, no_content, text};
use super::body;
use super::guard::By;
use super::kept::kept;
use super::openapi::Operation;
use super::openapi::schema::{anything, refer};
use super::path::Path;
use super::problem::Problem;
use super::query::Query;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::verify::{Expected, Held};
use crate::service::{Action, Caller, Service, StoredEnvelope};

const FETCH: &[&str] = &["project", "disclosures"];

pub(super) async fn fetch(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(evidence_id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, FETCH)?;
    // Who has to have all of them hears it when some would be left out.
    match query.one("disclosures")? {
        None => {}
        Some("all") => caller.check(Action::Disclose)?,
        Some(_) => return Err(Problem::parameter("disclosures", "all expected, or nothing")),
    }
    let evidence_id = service.find(&caller, Action::Read, &evidence_id, query.project()?).await?;
    Ok(file(service.envelope_for(&caller, &evidence_id).await?, &headers))
}

pub(super) fn about_fetch() -> Operation {
    about_file("getEnvelope", "The sealed envelope, with the disclosures that the role may see").query(FETCH)
}

/// What a question about a sealed run may have.
const OF_ONE: &[&str] = &["project"];

pub(super) async fn pack(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(evidence_id): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, OF_ONE)?;
    let evidence_id = service.find(&caller, Action::Read, &evidence_id, query.project()?).await?;
    Ok(file(service.pack(&evidence_id).await?, &headers))
}

pub(super) fn about_pack() -> Operation {
    about_file("getPack", "The sealed envelope, with the disclosures that the project makes public")
        .query(OF_ONE)
}

fn about_file(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .needs(Action::Read)
        .of_a_run()
        .header("If-None-Match")
        .answers(200, "The file.", body::JSON, refer("SealedEnvelope"))
        .answers_nothing(304, "The `ETag` is known already.")
        .with_header("ETag", true)
        .with_header("Sealstone-Envelope-Digest", true)
        .refuses(404, &["envelope_not_found"])
        .refuses(503, &["busy"])
}

/// The file, or nothing for who has it already.
fn file(stored: StoredEnvelope, headers: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{}\"", Digest::of(&stored.file));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known =
        known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag || known.trim() == "*"));
    let mut response = match known {
        true => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => text(StatusCode::OK, kept(stored.file, stored.place), "application/json"),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Authorization, Cookie"));
    if let (Ok(tag), Ok(digest)) =
        (HeaderValue::from_str(&tag), HeaderValue::from_str(&stored.envelope_digest.to_string()))
    {
        headers.insert(header::ETAG, tag);
        headers.insert("sealstone-envelope-digest", digest);
    }
    response
}

const ERASE: &[&str] = &["project", "at"];

/// Erases what is withheld at a place.
pub(super) async fn erase(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(evidence_id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    caller.check(Action::Administer)?;
    let query = Query::read(raw, ERASE)?;
    let at =
        query.one("at")?.ok_or_else(|| Problem::parameter("at", "the pointer of a disclosure expected"))?;
    let evidence_id = service.find(&caller, Action::Administer, &evidence_id, query.project()?).await?;
    service.erase(&caller, &evidence_id, at.to_owned()).await?;
    Ok(no_content())
}

pub(super) fn about_erase() -> Operation {
    Operation::new("eraseDisclosure", "Erases what is withheld at a place, and its salt")
        .about("The seal holds; nobody can say any more what it stands for.")
        .needs(Action::Administer)
        .of_a_run()
        .query(ERASE)
        .requires(&["at"])
        .answers_nothing(204, "Erased.")
        .refuses(404, &["disclosure_not_found"])
        .refuses(409, &["run_not_sealed"])
        .refuses(503, &["busy"])
}

pub(super) async fn verification(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(evidence_id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, OF_ONE)?;
    let evidence_id = service.find(&caller, Action::Read, &evidence_id, query.project()?).await?;
    Ok(json(StatusCode::OK, &service.verification(&evidence_id).await?))
}

pub(super) fn about_verification() -> Operation {
    Operation::new("getVerification", "A report on the stored envelope, made now")
        .needs(Action::Read)
        .of_a_run()
        .query(OF_ONE)
        .answers(200, "The report.", body::JSON, refer("Verification"))
        .refuses(404, &["envelope_not_found"])
        .refuses(503, &["busy"])
}

/// How large a file may be that somebody without a token has judged.
const MAX_BYTES_OF_NOBODY: usize = 8 << 20;

const VERIFY: &[&str] = &["trust", "head", "expect"];

pub(super) async fn verify(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    let query = Query::read(raw, VERIFY)?;
    let trusted = match query.one("trust")? {
        None | Some("service") => true,
        Some("none") => false,
        Some(_) => return Err(Problem::parameter("trust", "none expected, or nothing")),
    };
    let mut held = Held { keyring: trusted.then(|| (*service.keyring()).clone()), ..Held::default() };
    for head in query.all("head") {
        let parsed =
            head.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.parse().ok()?)));
        held.heads
            .push(parsed.ok_or_else(|| Problem::parameter("head", "SEQ:HASH expected, like 12:sha256:…"))?);
    }
    for expected in query.all("expect") {
        let parsed = expected.split_once('=').and_then(|(member, value)| {
            let member = Expected::ALL.into_iter().find(|expected| expected.as_str() == member)?;
            Some((member, value.to_owned()))
        });
        let wrong = || Problem::parameter("expect", "member=value expected, like result=succeeded");
        held.expected.push(parsed.ok_or_else(wrong)?);
    }
    let max_bytes = if caller == Caller::Nobody { MAX_BYTES_OF_NOBODY } else { MAX_FILE_BYTES };
    let sent = body::read(&headers, sent, &[body::JSON], max_bytes).await?;
    let place = service.judge_place().await?;
    Ok(json(StatusCode::OK, &service.judge(sent, held, place).await?))
}

pub(super) fn about_verify() -> Operation {
    Operation::new("verify", "Judges a sealed envelope")
        .about("Whatever is sent is judged, also what is none: then the report says `unreadable`. At most 8 MiB without a token, 128 MiB with one.")
        .query(VERIFY)
        .takes_any(body::JSON, anything())
        .answers(200, "The report.", body::JSON, refer("Verification"))
        .refuses(503, &["store_unavailable"])
}
