//! Every stored key, on one screen. A change of any of it is a new [`LAYOUT`].
//!
//! | key | value |
//! | --- | --- |
//! | `p` project | the project's counter, JSON |
//! | `n` run_id 0 project | evidence_id |
//! | `o` project 0 idempotency key | evidence_id of the run opened with it |
//! | `r` evidence_id | overview, JSON; in the order of opening, as version 7 UUIDs are |
//! | `s` evidence_id | standing, JSON |
//! | `j` evidence_id, pos | journal record |
//! | `k` evidence_id, idempotency key | what it was used for |
//! | `d` deadline, evidence_id | nothing: look at that run then |
//! | `c` evidence_id | nothing: closed, not sealed |
//! | `f` evidence_id, n | a chunk of the sealed file |
//! | `F` evidence_id | what the chunks are, JSON: they count once it is there |
//! | `g` evidence_id, log | what is known of a log, JSON |
//! | `l` evidence_id, log, offset | a chunk of it |
//! | `m` evidence_id, log_pos | the chunk of a log in which that line of the run ends: line, log, offset |
//! | `M` evidence_id, log, line | the chunk in which that line of the log ends: offset |
//! | `i` project 0, dimension, digest of the value, time, evidence_id | nothing: found in lists so |
//! | `P` project | what it has settled, JSON |
//! | `q` keyid | a public key, as a keyring |
//! | `S` digest of a session | whose token it stands for, and until when, JSON |
//! | `t` digest of a token | whose it is, JSON |
//!
//! evidence_ids are the 16 bytes of the UUID, numbers are big-endian, times are milliseconds since the year 1.

use uuid::Uuid;

use super::LineEnd;
use super::list::{Dimension, Place};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;

/// The version of the layout.
pub(crate) const LAYOUT: u32 = 2;

pub(crate) fn counter(project: &str) -> Vec<u8> {
    join(b'p', [project.as_bytes()])
}

pub(crate) fn counters() -> (Vec<u8>, Vec<u8>) {
    (vec![b'p'], vec![b'p'.wrapping_add(1)])
}

/// The project in a key of [`counter`].
pub(crate) fn project_counted(key: &[u8]) -> Option<String> {
    String::from_utf8(key.get(1..)?.to_vec()).ok()
}

pub(crate) fn settings(project: &str) -> Vec<u8> {
    join(b'P', [project.as_bytes()])
}

pub(crate) fn name(run_id: &str, project: &str) -> Vec<u8> {
    join(b'n', [run_id.as_bytes(), &[0], project.as_bytes()])
}

pub(crate) fn names(run_id: &str) -> (Vec<u8>, Vec<u8>) {
    (join(b'n', [run_id.as_bytes(), &[0]]), join(b'n', [run_id.as_bytes(), &[1]]))
}

/// The project in a key of [`name`].
pub(crate) fn project_of(name: &[u8]) -> Option<String> {
    let place = name.iter().position(|byte| *byte == 0)?;
    String::from_utf8(name.get(place.checked_add(1)?..)?.to_vec()).ok()
}

pub(crate) fn opened_with(project: &str, key: &str) -> Vec<u8> {
    join(b'o', [project.as_bytes(), &[0], key.as_bytes()])
}

pub(crate) fn overview(evidence_id: &str) -> Vec<u8> {
    join(b'r', [id(evidence_id).as_slice()])
}

pub(crate) fn overviews() -> (Vec<u8>, Vec<u8>) {
    (vec![b'r'], vec![b'r'.wrapping_add(1)])
}

pub(crate) fn standing(evidence_id: &str) -> Vec<u8> {
    join(b's', [id(evidence_id).as_slice()])
}

pub(crate) fn record(evidence_id: &str, pos: u64) -> Vec<u8> {
    join(b'j', [id(evidence_id).as_slice(), &pos.to_be_bytes()])
}

/// The place in a key of [`record`].
pub(crate) fn pos_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn key(evidence_id: &str, key: &str) -> Vec<u8> {
    join(b'k', [id(evidence_id).as_slice(), key.as_bytes()])
}

pub(crate) fn keys(evidence_id: &str) -> (Vec<u8>, Vec<u8>) {
    (key(evidence_id, ""), join(b'k', [id(evidence_id).as_slice(), &[0xff]]))
}

/// The idempotency key in a key of [`key`].
pub(crate) fn key_of(key: &[u8]) -> Option<String> {
    String::from_utf8(key.get(17..)?.to_vec()).ok()
}

pub(crate) fn deadline(at: Timestamp, evidence_id: &str) -> Vec<u8> {
    join(b'd', [&moment(at), id(evidence_id).as_slice()])
}

pub(crate) fn deadlines(until: Timestamp) -> (Vec<u8>, Vec<u8>) {
    (vec![b'd'], join(b'd', [&moment(until), &[0xff; 17]]))
}

/// What is in a key of [`deadline`].
pub(crate) fn deadline_of(key: &[u8]) -> Option<(Timestamp, String)> {
    let ms = u64::from_be_bytes(*key.get(1..)?.first_chunk()?);
    let at = Timestamp::from_unix_ms(i64::try_from(ms).ok()?.checked_add(YEAR_1_MS)?);
    Some((at, evidence_id_of(key)?))
}

pub(crate) fn closing(evidence_id: &str) -> Vec<u8> {
    join(b'c', [id(evidence_id).as_slice()])
}

pub(crate) fn all_closing() -> (Vec<u8>, Vec<u8>) {
    (vec![b'c'], vec![b'c'.wrapping_add(1)])
}

pub(crate) fn chunk(evidence_id: &str, n: u32) -> Vec<u8> {
    join(b'f', [id(evidence_id).as_slice(), &n.to_be_bytes()])
}

pub(crate) fn sealed(evidence_id: &str) -> Vec<u8> {
    join(b'F', [id(evidence_id).as_slice()])
}

pub(crate) fn log(evidence_id: &str, log: u32) -> Vec<u8> {
    join(b'g', [id(evidence_id).as_slice(), &log.to_be_bytes()])
}

pub(crate) fn logs(evidence_id: &str) -> (Vec<u8>, Vec<u8>) {
    below(join(b'g', [id(evidence_id).as_slice()]))
}

pub(crate) fn log_chunk(evidence_id: &str, log: u32, offset: u64) -> Vec<u8> {
    join(b'l', [id(evidence_id).as_slice(), &log.to_be_bytes(), &offset.to_be_bytes()])
}

/// The place in a key of [`log_chunk`].
pub(crate) fn offset_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn line(evidence_id: &str, log_pos: u64) -> Vec<u8> {
    join(b'm', [id(evidence_id).as_slice(), &log_pos.to_be_bytes()])
}

pub(crate) fn line_end(end: &LineEnd) -> Vec<u8> {
    [end.line.to_be_bytes().as_slice(), &end.log.to_be_bytes(), &end.offset.to_be_bytes()].concat()
}

/// What stands under a key of [`line`].
pub(crate) fn line_end_of(key: &[u8], value: &[u8]) -> Option<LineEnd> {
    let (line, rest) = value.split_first_chunk()?;
    let (log, rest) = rest.split_first_chunk()?;
    Some(LineEnd {
        log_pos: offset_of(key)?,
        line: u64::from_be_bytes(*line),
        log: u32::from_be_bytes(*log),
        offset: u64::from_be_bytes(rest.try_into().ok()?),
    })
}

pub(crate) fn line_of_log(evidence_id: &str, log: u32, line: u64) -> Vec<u8> {
    join(b'M', [id(evidence_id).as_slice(), &log.to_be_bytes(), &line.to_be_bytes()])
}

/// Every key of a run's logs but those of [`log`].
pub(crate) fn bytes_and_lines(evidence_id: &str) -> [(Vec<u8>, Vec<u8>); 3] {
    [b'l', b'm', b'M'].map(|tag| below(join(tag, [id(evidence_id).as_slice()])))
}

pub(crate) fn index(project: &str, dimension: &Dimension, at: Timestamp, evidence_id: &str) -> Vec<u8> {
    let stretch = stretch(project, dimension);
    join(b'i', [stretch.as_slice(), &moment(at), id(evidence_id).as_slice()])
}

/// The keys of [`index`] of one project and dimension, later and earlier than these times, before that place.
pub(crate) fn index_range(
    project: &str,
    dimension: &Dimension,
    (later, earlier): (Option<Timestamp>, Option<Timestamp>),
    after: Option<&Place>,
) -> (Vec<u8>, Vec<u8>) {
    let stretch = stretch(project, dimension);
    let next = |at: Timestamp| Timestamp::from_unix_ms(at.unix_ms().saturating_add(1));
    let from = later.map_or(Vec::new(), |at| moment(next(at)).to_vec());
    let earlier = earlier.map_or(vec![0xff; 25], |at| moment(at).to_vec());
    let after =
        after.map_or(vec![0xff; 25], |place| [moment(place.at).as_slice(), &id(&place.evidence_id)].concat());
    (join(b'i', [stretch.as_slice(), &from]), join(b'i', [stretch.as_slice(), &earlier.min(after)]))
}

pub(crate) fn all_indexed() -> (Vec<u8>, Vec<u8>) {
    (vec![b'i'], vec![b'i'.wrapping_add(1)])
}

/// Time and evidence_id of a key of [`index`]: they order a list.
pub(crate) fn place_in(key: &[u8]) -> &[u8] {
    key.last_chunk::<24>().map_or(&[], <[u8; 24]>::as_slice)
}

/// What [`place_in`] gives, read.
pub(crate) fn place_of(place: &[u8]) -> Option<Place> {
    let ms = u64::from_be_bytes(*place.first_chunk()?);
    let at = Timestamp::from_unix_ms(i64::try_from(ms).ok()?.checked_add(YEAR_1_MS)?);
    Some(Place { at, evidence_id: evidence_id_of(place)? })
}

/// Project, dimension and value; 16 bytes of its digest stand for a value of any length.
fn stretch(project: &str, dimension: &Dimension) -> Vec<u8> {
    let (tag, value) = dimension.parts();
    let value = Digest::of(value);
    [project.as_bytes(), &[0, tag], value.as_bytes().first_chunk::<16>().map_or(&[], <[u8; 16]>::as_slice)]
        .concat()
}

pub(crate) fn public_key(keyid: &str) -> Vec<u8> {
    join(b'q', [keyid.as_bytes()])
}

pub(crate) fn public_keys() -> (Vec<u8>, Vec<u8>) {
    (vec![b'q'], vec![b'q'.wrapping_add(1)])
}

pub(crate) fn token(digest: Digest) -> Vec<u8> {
    join(b't', [digest.as_bytes().as_slice()])
}

pub(crate) fn tokens() -> (Vec<u8>, Vec<u8>) {
    (vec![b't'], vec![b't'.wrapping_add(1)])
}

pub(crate) fn session(digest: Digest) -> Vec<u8> {
    join(b'S', [digest.as_bytes().as_slice()])
}

pub(crate) fn sessions() -> (Vec<u8>, Vec<u8>) {
    (vec![b'S'], vec![b'S'.wrapping_add(1)])
}

/// The digest in a key of [`token`] or [`session`].
pub(crate) fn digest_of(key: &[u8]) -> Option<Digest> {
    key.last_chunk().map(|bytes| Digest::from_bytes(*bytes))
}

/// The evidence_id that a key ends with.
pub(crate) fn evidence_id_of(key: &[u8]) -> Option<String> {
    key.last_chunk().map(|bytes| Uuid::from_bytes(*bytes).to_string())
}

/// True for what can be an evidence_id here: a UUID in the one form that we write.
pub(crate) fn is_evidence_id(text: &str) -> bool {
    Uuid::parse_str(text).is_ok_and(|uuid| uuid.to_string() == text)
}

/// Every key that begins so.
fn below(prefix: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let end = [prefix.as_slice(), &[0xff; 17]].concat();
    (prefix, end)
}

const YEAR_1_MS: i64 = -62_135_596_800_000;

fn moment(at: Timestamp) -> [u8; 8] {
    at.unix_ms().saturating_sub(YEAR_1_MS).to_be_bytes()
}

/// What is no UUID has the nil one's place, where no run is.
fn id(evidence_id: &str) -> [u8; 16] {
    Uuid::parse_str(evidence_id).unwrap_or_default().into_bytes()
}

fn join<const N: usize>(tag: u8, parts: [&[u8]; N]) -> Vec<u8> {
    let mut key = vec![tag];
    parts.into_iter().for_each(|part| key.extend(part));
    key
}
