//! Members without what rules match in them, and the record of that (ENVELOPE.md section 3, `redaction`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::Entry;
use super::masks::Masks;
use super::refusal::Refusal;
use super::request::LogSummary;
use super::run::Run;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::limits::{Limits, MAX_ELEMENTS};
use crate::evidence::envelope::{Disclosure, Kind, Place, PrivateMembers, Rewrite, rewrite};
use crate::evidence::record::{RecordError, Size, Tally};

/// How many redactions may follow one element. Of more, those of one rule are told together.
const MAX_REDACTIONS: usize = 64;

/// What one rule found at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The rule.
    pub rule_id: String,
    /// A pointer from the element.
    pub path: String,
    /// How many matches.
    pub count: u64,
    /// Of how many bytes together.
    pub bytes: u64,
}

impl Redacted {
    /// The stored form.
    pub(super) fn encode(all: &[Self]) -> String {
        let one = |redacted: &Self| {
            Object::from_iter([
                ("rule_id", Value::from(redacted.rule_id.clone())),
                ("path", Value::from(redacted.path.clone())),
                ("count", Value::count(redacted.count)),
                ("bytes", Value::count(redacted.bytes)),
            ])
        };
        Value::from(all.iter().map(one).collect::<Vec<_>>()).canonical().into_owned()
    }

    /// Reads the stored form; `None` if it is none.
    pub(super) fn decode(stored: &Value<'_>) -> Option<Vec<Self>> {
        let one = |stored: &Value<'_>| {
            let stored = stored.as_object()?;
            Some(Self {
                rule_id: stored.text("rule_id")?.to_owned(),
                path: stored.text("path")?.to_owned(),
                count: stored.count("count")?,
                bytes: stored.count("bytes")?,
            })
        };
        stored.as_list()?.iter().map(one).collect()
    }

    /// The member of the element that it is in.
    pub(super) fn member(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }
}

/// The members of an element, masked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Masked {
    pub(super) members: Object<'static>,
    pub(super) redacted: Vec<Redacted>,
    /// How long the texts are in which something was found.
    pub(super) bytes: usize,
}

impl Masked {
    pub(super) fn of(members: &Object<'static>, redacted: &[Redacted]) -> Self {
        Self { members: members.clone(), redacted: redacted.to_vec(), bytes: 0 }
    }

    /// Puts members in, in the place of those of the same name; what was masked in those is gone with them.
    pub(super) fn put(&mut self, members: &Object<'static>, redacted: Vec<Redacted>) {
        for (name, value) in members.iter() {
            self.members.insert(name.to_owned(), value.clone());
        }
        self.redacted.retain(|before| members.get(before.member()).is_none());
        self.redacted.extend(redacted);
    }
}

impl Masks {
    /// Masks the free text of an element. Names are part of pointers: one that a rule matches is refused.
    pub(super) fn mask(&self, kind: Kind, mut members: Object<'static>) -> Result<Masked, Refusal> {
        let mut masking = Masking { masks: self, redacted: Vec::new(), bytes: 0 };
        if !self.is_empty() {
            rewrite(kind, &mut members, &mut masking)?;
        }
        let Masking { mut redacted, bytes, .. } = masking;
        if redacted.len() > MAX_REDACTIONS {
            let whole = std::mem::take(&mut redacted);
            redacted = together(whole, |redacted| format!("/{}", redacted.member()));
        }
        Ok(Masked { members, redacted, bytes })
    }

    /// The most that can be found in a member.
    fn most_in(&self, member: &str) -> impl Iterator<Item = Redacted> {
        let path = format!("/{member}");
        let most = move |rule_id: &str| Redacted {
            rule_id: rule_id.to_owned(),
            path: path.clone(),
            count: u64::MAX,
            bytes: u64::MAX,
        };
        self.rule_ids().map(most)
    }
}

struct Masking<'m> {
    masks: &'m Masks,
    redacted: Vec<Redacted>,
    bytes: usize,
}

impl Rewrite for Masking<'_> {
    type Refused = Refusal;

    fn name(&mut self, place: &Place<'_>, name: &str) -> Result<(), Refusal> {
        match self.masks.matched(name) {
            None => Ok(()),
            Some(rule_id) => Err(Refusal::NameRedacted { at: place.pointer(), rule_id: rule_id.to_owned() }),
        }
    }

    fn text(&mut self, place: &Place<'_>, text: &str) -> Result<Option<String>, Refusal> {
        let (masked, hits) = self.masks.text(text);
        self.redacted.extend(hits.into_iter().map(|hit| Redacted {
            rule_id: hit.rule_id.to_owned(),
            path: place.pointer(),
            count: hit.count,
            bytes: hit.bytes,
        }));
        Ok(match masked {
            Cow::Borrowed(_) => None,
            Cow::Owned(masked) => {
                self.bytes = self.bytes.saturating_add(masked.len());
                Some(masked)
            }
        })
    }
}

/// One for each rule and place, where `place` says which places are one.
fn together(all: Vec<Redacted>, place: impl Fn(&Redacted) -> String) -> Vec<Redacted> {
    let mut places: BTreeMap<(String, String), Redacted> = BTreeMap::new();
    for redacted in all {
        let path = place(&redacted);
        let key = (path.clone(), redacted.rule_id.clone());
        match places.get_mut(&key) {
            Some(known) => {
                known.count = known.count.saturating_add(redacted.count);
                known.bytes = known.bytes.saturating_add(redacted.bytes);
            }
            None => drop(places.insert(key, Redacted { path, ..redacted })),
        }
    }
    places.into_values().collect()
}

/// The redactions of the element at this index. Of what is withheld from it they tell neither inner names nor lengths.
pub(super) fn redactions(
    kind: Kind,
    index: usize,
    redacted: &[Redacted],
    withheld: &[Disclosure],
) -> Vec<Object<'static>> {
    let mut redacted = redacted.to_vec();
    if redacted.len() > MAX_REDACTIONS {
        redacted = together(redacted, |_| String::new());
    }
    let element = kind.pointer(index);
    let within = |at: &str, withheld: &str| {
        at.strip_prefix(withheld).is_some_and(|inner| inner.is_empty() || inner.starts_with('/'))
    };
    let withheld_at = |at: &str| withheld.iter().map(|w| w.at.as_str()).find(|withheld| within(at, withheld));
    let redacted = together(redacted, |redacted| {
        let at = format!("{element}{}", redacted.path);
        withheld_at(&at).map_or(at.clone(), str::to_owned)
    });
    let one = |redacted: Redacted| {
        let mut members = Object::from_iter([
            ("action", Value::from("masked")),
            ("match_count", Value::count(redacted.count)),
            ("match_type", Value::from("regex")),
        ]);
        if withheld_at(&redacted.path).is_none() {
            members.insert("masked_len", Value::count(redacted.bytes));
        }
        members.insert("path", redacted.path);
        members.insert("rule_id", redacted.rule_id);
        members
    };
    redacted.into_iter().map(one).collect()
}

/// Room for the redactions of an outcome. They stand before it: it is the last.
pub(super) fn room_for_outcome(masks: &Masks) -> Size {
    let most: Vec<Redacted> = masks.most_in("reason").collect();
    // Far below any limit of an element.
    size_of_redactions(Kind::Outcome, &most, &Limits::default()).unwrap_or_default()
}

/// How much room those redactions take, wherever their element will stand.
fn size_of_redactions(kind: Kind, redacted: &[Redacted], limits: &Limits) -> Result<Size, RecordError> {
    let (tally, private) = (Tally::default(), PrivateMembers::default());
    let redactions = redactions(kind, MAX_ELEMENTS, redacted, &[]);
    redactions.iter().try_fold(Size::default(), |size, redaction| {
        Ok(size.plus(tally.size_of(Kind::Redaction, redaction, &private, limits)?))
    })
}

impl Run {
    /// What is masked in it.
    pub fn masks(&self) -> &Arc<Masks> {
        &self.masks
    }

    /// How much room an element takes that is recorded at the close, with its redactions.
    pub(super) fn size_at_close(
        &self,
        kind: Kind,
        members: &Object<'static>,
        redacted: &[Redacted],
        limits: &Limits,
    ) -> Result<Size, RecordError> {
        if kind != Kind::Step {
            let size = self.tally.size_of(kind, members, &self.private, limits)?;
            return Ok(size.plus(size_of_redactions(kind, redacted, limits)?));
        }
        // With a log, whatever will be in it. As many redactions as are not told together may take more room than all of them.
        let mut members = members.clone();
        members.insert("log", LogSummary::largest().member());
        let mut in_log: Vec<Redacted> = self.masks.most_in("log").collect();
        in_log.sort_by_key(|redacted| std::cmp::Reverse(redacted.rule_id.len()));
        let all: Vec<Redacted> = redacted.iter().cloned().chain(in_log).collect();
        let apart = all.get(..MAX_REDACTIONS).unwrap_or(&all);
        let apart = size_of_redactions(kind, apart, limits)?;
        let redactions = apart.at_least(size_of_redactions(kind, &all, limits)?);
        Ok(self.tally.size_of(kind, &members, &self.private, limits)?.plus(redactions))
    }

    /// Masks entries by the rules of the run. A refusal names the entry that it is about by its index.
    pub(super) fn mask_entries(
        &self,
        mut entries: Vec<Entry>,
        limits: &Limits,
    ) -> Result<Vec<Entry>, (Refusal, Option<usize>)> {
        if self.masks.is_empty() {
            return Ok(entries);
        }
        let mut bytes = 0_usize;
        for (index, entry) in entries.iter_mut().enumerate() {
            let grown = entry.mask(&self.masks).map_err(|refusal| (refusal, Some(index)))?;
            bytes = bytes.saturating_add(grown);
            if bytes > limits.max_envelope_bytes {
                let (max_elements, max_bytes) = (limits.max_elements, limits.max_envelope_bytes);
                return Err((Refusal::RunFull { max_elements, max_bytes }, Some(index)));
            }
        }
        Ok(entries)
    }
}
