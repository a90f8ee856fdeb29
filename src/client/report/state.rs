//! What a courier has to know to go on where another left off.

use std::collections::{BTreeMap, BTreeSet};

use super::telling::{Again, LogPlace};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;

/// An id has at most so many characters, all of them ASCII.
const MAX_ID_BYTES: usize = 128;
const ARTIFACT_ID: &str = "artifact_id";

/// How reports differ from what is sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    /// The run itself was refused, and with it all that was told of it.
    pub(super) is_refused: bool,
    /// The run that takes what came after the end of the one that was meant.
    pub(super) moved_to: Option<String>,
    /// How often that happened.
    pub(super) moves: u64,
    /// Under which name and attempt a step is recorded whose name was taken.
    renamed: BTreeMap<LogPlace, LogPlace>,
    /// How many bytes of a log went elsewhere, or nowhere.
    bases: BTreeMap<LogPlace, u64>,
    /// Artifacts that were refused: nothing can cite them.
    pub(super) lost: BTreeSet<String>,
    /// Under which id an artifact or observation is recorded whose id was taken, by its [digest](Named::digest).
    numbered: BTreeMap<String, String>,
    /// What cites an artifact cites the one that is recorded under this id.
    cited: BTreeMap<String, String>,
    /// Steps that go on, as they were told to begin.
    pub(super) started: BTreeMap<LogPlace, Object<'static>>,
}

impl State {
    /// An entry as it is sent.
    pub(super) fn as_sent(&self, entry: &Object<'static>) -> Object<'static> {
        let mut sent = entry.clone();
        let is_step = matches!(entry.text("type"), Some("step" | "step_started"));
        let place = place_of(entry).filter(|_| is_step);
        let of_step = || {
            let step_id = entry.text("step_id")?;
            self.renamed.iter().rev().find(|(place, _)| place.step_id == step_id).map(|(_, sent)| sent)
        };
        if let Some(LogPlace { step_id, attempt }) = place.and_then(|place| self.renamed.get(&place)) {
            sent.insert("step_id", step_id.clone());
            sent.insert("attempt", Value::count(*attempt));
        } else if let Some(LogPlace { step_id, .. }) = of_step() {
            sent.insert("step_id", step_id.clone());
        }
        if let Some(Named { member, digest, .. }) = Named::of(entry).filter(|_| !self.numbered.is_empty())
            && let Some(id) = self.numbered.get(&digest)
        {
            sent.insert(member, id.clone());
        }
        for member in ["artifact_ids", "basis_artifact_ids"] {
            let is_as_told = self.lost.is_empty() && self.cited.is_empty();
            if let Some(ids) = entry.list(member).filter(|_| !is_as_told) {
                sent.insert(member, ids.iter().filter_map(|id| self.citation(id)).collect::<Vec<_>>());
            }
        }
        sent
    }

    /// A citation as it is sent; `None` if there is nothing to cite.
    fn citation(&self, id: &Value<'static>) -> Option<Value<'static>> {
        let Some(told) = id.as_text() else { return Some(id.clone()) };
        let cited = self.cited.get(told).map_or(told, String::as_str);
        let is_lost = [told, cited].iter().any(|id| self.lost.contains(*id));
        (!is_lost).then(|| Value::from(cited.to_owned()))
    }

    /// Gives an artifact or observation a number behind its id, and has what cites it follow.
    pub(super) fn number(&mut self, named: Named, number: u64) {
        let suffix = format!("-{number}");
        let start = named.id.get(..MAX_ID_BYTES.saturating_sub(suffix.len())).unwrap_or(&named.id);
        let id = format!("{start}{suffix}");
        if named.member == ARTIFACT_ID {
            self.cited.insert(named.id, id.clone());
        }
        self.numbered.insert(named.digest, id);
    }

    /// What comes from now on is of that run.
    pub(super) fn move_to(&mut self, run: String) {
        self.moved_to = Some(run);
        self.moves = self.moves.saturating_add(1);
    }

    /// Gives a step another name, or its next attempt: the one after that many that were taken.
    pub(super) fn rename(&mut self, place: LogPlace, again: Again, taken: u64) {
        let other = match again {
            Again::Attempt => LogPlace { attempt: place.attempt.saturating_add(taken), ..place.clone() },
            Again::Step => {
                let number = taken.saturating_add(1);
                LogPlace { step_id: format!("{}-{number}", place.step_id), ..place.clone() }
            }
        };
        self.renamed.insert(place, other);
    }

    /// The attempt of a step is over, whatever its producer knows: what it tells from now on is of the next.
    pub(super) fn next_attempt(&mut self, place: &LogPlace) {
        let LogPlace { step_id, attempt } = self.renamed(place);
        let next = LogPlace { step_id, attempt: attempt.saturating_add(1) };
        self.renamed.insert(place.clone(), next);
    }

    /// Where the log of a step is.
    pub(super) fn renamed(&self, place: &LogPlace) -> LogPlace {
        self.renamed.get(place).unwrap_or(place).clone()
    }

    pub(super) fn base(&self, place: &LogPlace) -> u64 {
        self.bases.get(place).copied().unwrap_or_default()
    }

    pub(super) fn set_base(&mut self, place: &LogPlace, base: u64) {
        self.bases.insert(place.clone(), base);
    }

    pub(super) fn write(&self) -> Object<'static> {
        let at = |place: &LogPlace| vec![Value::from(place.step_id.clone()), Value::count(place.attempt)];
        let renamed = self.renamed.iter().map(|(from, to)| Value::from([at(from), at(to)].concat()));
        let bases = self
            .bases
            .iter()
            .map(|(place, base)| Value::from([at(place), vec![Value::count(*base)]].concat()));
        let started = self
            .started
            .iter()
            .map(|(place, entry)| Value::from([at(place), vec![entry.clone().into()]].concat()));
        let pairs = |of: &BTreeMap<String, String>| {
            of.iter()
                .map(|(from, to)| Value::from(vec![Value::from(from.clone()), to.clone().into()]))
                .collect()
        };
        let (numbered, cited): (Vec<_>, Vec<_>) = (pairs(&self.numbered), pairs(&self.cited));
        let mut state = Object::from_iter([
            ("numbered", numbered.into()),
            ("cited", cited.into()),
            ("started", started.collect::<Vec<_>>().into()),
            ("is_refused", self.is_refused.into()),
            ("moves", Value::count(self.moves)),
            ("renamed", renamed.collect::<Vec<_>>().into()),
            ("bases", bases.collect::<Vec<_>>().into()),
            ("lost", self.lost.iter().cloned().collect::<Vec<_>>().into()),
        ]);
        if let Some(run) = &self.moved_to {
            state.insert("moved_to", run.clone());
        }
        state
    }

    /// What [`write`](Self::write) made; what is not, is as if nothing had happened.
    pub(super) fn read(state: &Object<'_>) -> Self {
        let rows = |name| state.list(name).unwrap_or_default().iter().filter_map(Value::as_list);
        let place = |step_id: &Value<'_>, attempt: &Value<'_>| {
            Some(LogPlace { step_id: step_id.as_text()?.to_owned(), attempt: attempt.as_count()? })
        };
        let renamed = rows("renamed").filter_map(|row| match row {
            [step_id, attempt, to_step_id, to_attempt] => {
                Some((place(step_id, attempt)?, place(to_step_id, to_attempt)?))
            }
            _ => None,
        });
        let bases = rows("bases").filter_map(|row| match row {
            [step_id, attempt, base] => Some((place(step_id, attempt)?, base.as_count()?)),
            _ => None,
        });
        let started = rows("started").filter_map(|row| match row {
            [step_id, attempt, entry] => {
                Some((place(step_id, attempt)?, entry.as_object()?.clone().into_owned()))
            }
            _ => None,
        });
        let pair = |row: &[Value<'_>]| match row {
            [from, to] => Some((from.as_text()?.to_owned(), to.as_text()?.to_owned())),
            _ => None,
        };
        let lost = state.list("lost").unwrap_or_default().iter();
        Self {
            moved_to: state.text("moved_to").map(str::to_owned),
            is_refused: state.get("is_refused") == Some(&Value::from(true)),
            moves: state.count("moves").unwrap_or_default(),
            renamed: renamed.collect(),
            bases: bases.collect(),
            numbered: rows("numbered").filter_map(pair).collect(),
            cited: rows("cited").filter_map(pair).collect(),
            started: started.collect(),
            lost: lost.filter_map(|id| id.as_text().map(str::to_owned)).collect(),
        }
    }
}

/// An artifact or observation, which has an id of its own in its run.
pub(super) struct Named {
    /// Which member the id is.
    member: &'static str,
    id: String,
    /// Of all its members as they are told: two of one id are two.
    digest: String,
}

impl Named {
    pub(super) fn of(entry: &Object<'_>) -> Option<Self> {
        let member = match entry.text("type") {
            Some("artifact") => ARTIFACT_ID,
            Some("observation") => "observation_id",
            _ => return None,
        };
        let digest = Digest::of(entry.canonical().as_bytes()).to_hex();
        Some(Self { member, id: entry.text(member)?.to_owned(), digest })
    }
}

/// Which attempt of which step an entry is of.
pub(super) fn place_of(entry: &Object<'_>) -> Option<LogPlace> {
    let attempt = entry.count("attempt").unwrap_or(1);
    Some(LogPlace { step_id: entry.text("step_id")?.to_owned(), attempt })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object<'static> {
        match crate::evidence::canonical::parse(json.as_bytes(), json.len()).map(Value::into_owned) {
            Ok(Value::Object(object)) => object,
            _ => Object::new(),
        }
    }

    fn place(step_id: &str, attempt: u64) -> LogPlace {
        LogPlace { step_id: step_id.into(), attempt }
    }

    #[test]
    fn what_is_known_is_read_back_as_it_was() {
        let mut state = State { moved_to: Some("p/r:rest".into()), moves: 1, ..State::default() };
        state.rename(place("unit", 1), Again::Attempt, 2);
        state.rename(place("cargo", 1), Again::Step, 1);
        state.set_base(&place("unit", 1), 7);
        state.lost.insert("a".into());
        state.numbered.insert("digest".into(), "b-2".into());
        state.cited.insert("b".into(), "b-2".into());
        state.started.insert(place("unit", 1), Object::from_iter([("step_id", "unit")]));
        assert_eq!(State::read(&state.write()), state);
        assert_eq!(State::read(&State::default().write()), State::default());
        assert_eq!(State::read(&Object::new()), State::default());
    }

    #[test]
    fn all_that_is_of_a_step_gets_its_other_name_and_nothing_cites_what_was_refused() {
        let mut state = State::default();
        state.rename(place("unit", 1), Again::Attempt, 1);
        state.rename(place("cargo", 1), Again::Step, 2);
        state.lost.insert("gone".into());
        let sent = |entry: &str| state.as_sent(&object(entry)).canonical().into_owned();
        assert_eq!(
            sent(r#"{"step_id":"unit","type":"step"}"#),
            r#"{"attempt":2,"step_id":"unit","type":"step"}"#
        );
        let cargo = r#"{"attempt":1,"step_id":"cargo-3","type":"step_started"}"#;
        assert_eq!(sent(r#"{"step_id":"cargo","type":"step_started"}"#), cargo);
        let artifact = r#"{"artifact_id":"a","step_id":"cargo-3","type":"artifact"}"#;
        assert_eq!(sent(r#"{"artifact_id":"a","step_id":"cargo","type":"artifact"}"#), artifact);
        assert_eq!(sent(r#"{"basis_artifact_ids":["gone","a"]}"#), r#"{"basis_artifact_ids":["a"]}"#);
        assert_eq!(sent(r#"{"step_id":"other"}"#), r#"{"step_id":"other"}"#);
    }

    #[test]
    fn what_cites_an_artifact_whose_id_was_taken_cites_the_one_that_is_its_own() {
        let mut state = State::default();
        let ours = r#"{"artifact_id":"report.xml","digest":"ours","type":"artifact"}"#;
        let long = format!(r#"{{"observation_id":"{}","type":"observation"}}"#, "o".repeat(MAX_ID_BYTES));
        for entry in [ours, &long] {
            Named::of(&object(entry)).into_iter().for_each(|named| state.number(named, 12));
        }
        let sent = |entry: &str| state.as_sent(&object(entry)).canonical().into_owned();
        assert_eq!(sent(ours), ours.replace("report.xml", "report.xml-12"));
        let theirs = ours.replace("ours", "theirs");
        assert_eq!(sent(&theirs), theirs);
        assert_eq!(
            sent(r#"{"artifact_ids":["a","report.xml"]}"#),
            r#"{"artifact_ids":["a","report.xml-12"]}"#
        );
        assert_eq!(sent(&long), long.replace("ooo\"", "-12\""));
    }
}
