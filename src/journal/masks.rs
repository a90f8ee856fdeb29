//! Redaction rules: what must not be recorded, and what stands in its place.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::evidence::envelope::limits::is_id;

/// How many rules a project may have.
pub const MAX_RULES: usize = 50;
/// How long a pattern may be.
const MAX_PATTERN_BYTES: usize = 1 << 10;
/// How much memory a pattern may take, and again each thread that searches for it.
const MAX_COMPILED_BYTES: usize = 256 << 10;
/// How long a replacement may be.
const MAX_REPLACEMENT_BYTES: usize = 64;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique in its project.
    pub rule_id: String,
    /// A regular expression: what it matches is masked.
    pub pattern: String,
    /// What is put in its place, as it stands here.
    pub replacement: String,
}

impl Rule {
    /// What is put in place of a match where a rule does not say.
    pub const REPLACEMENT: &str = "***";
}

/// A rule that cannot be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// Which, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: RuleFaultReason,
}

/// What can be wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFaultReason {
    /// The name is no id.
    Id,
    /// The pattern matches where nothing stands.
    MatchesNothing,
    /// The pattern is no regular expression, or too large a one: why.
    Pattern(String),
    /// The pattern is too long.
    PatternTooLong,
    /// Another rule has that name.
    RepeatedId,
    /// The replacement is too long.
    ReplacementTooLong,
    /// One rule too many.
    TooMany,
}

impl RuleFault {
    /// A pointer into the list of rules.
    pub fn pointer(&self) -> String {
        let member = match self.reason {
            RuleFaultReason::Id | RuleFaultReason::RepeatedId => "/rule_id",
            RuleFaultReason::MatchesNothing
            | RuleFaultReason::Pattern(_)
            | RuleFaultReason::PatternTooLong => "/pattern",
            RuleFaultReason::ReplacementTooLong => "/replacement",
            RuleFaultReason::TooMany => "",
        };
        format!("/{}{member}", self.index)
    }
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            RuleFaultReason::Id => {
                f.write_str("an id expected: 1–128 of A–Z a–z 0–9 . _ : -, first a letter or digit")
            }
            RuleFaultReason::MatchesNothing => f.write_str(
                "the pattern matches where nothing stands; it has to match one character at least",
            ),
            RuleFaultReason::Pattern(why) => write!(f, "no pattern that can be used: {why}"),
            RuleFaultReason::PatternTooLong => write!(f, "a pattern may have {MAX_PATTERN_BYTES} bytes"),
            RuleFaultReason::RepeatedId => f.write_str("another rule has this rule_id; choose another"),
            RuleFaultReason::ReplacementTooLong => {
                write!(f, "a replacement may have {MAX_REPLACEMENT_BYTES} bytes")
            }
            RuleFaultReason::TooMany => write!(f, "at most {MAX_RULES} rules expected"),
        }
    }
}

impl std::error::Error for RuleFault {}

/// What one rule found in one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'m> {
    /// The rule.
    pub rule_id: &'m str,
    /// How many matches.
    pub count: u64,
    /// Of how many bytes together.
    pub bytes: u64,
}

/// Rules, ready to be used.
#[derive(Debug, Default)]
pub struct Masks {
    rules: Vec<(Rule, Regex)>,
}

/// A stretch that is masked: from, to, and by which rule.
type Span = (usize, usize, usize);

impl Masks {
    /// Makes rules ready.
    pub fn parse(rules: &[Rule]) -> Result<Self, RuleFault> {
        let mut masks = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            let regex = masks.check(rule).map_err(|reason| RuleFault { index, reason })?;
            masks.rules.push((rule.clone(), regex));
        }
        Ok(masks)
    }

    /// The same, from memory where any run has these rules in force: they take more of it than a run does.
    pub fn shared(rules: &[Rule]) -> Result<Arc<Self>, RuleFault> {
        static SHARED: Mutex<Vec<Weak<Masks>>> = Mutex::new(Vec::new());
        if rules.is_empty() {
            return Ok(Arc::default());
        }
        let known = || {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            shared.retain(|masks| masks.strong_count() > 0);
            let same = |masks: &Arc<Masks>| masks.rules.iter().map(|(rule, _)| rule).eq(rules);
            shared.iter().filter_map(Weak::upgrade).find(same)
        };
        if let Some(masks) = known() {
            return Ok(masks);
        }
        let masks = Arc::new(Self::parse(rules)?);
        SHARED.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&masks));
        Ok(masks)
    }

    fn check(&self, rule: &Rule) -> Result<Regex, RuleFaultReason> {
        if self.rules.len() >= MAX_RULES {
            return Err(RuleFaultReason::TooMany);
        }
        if !is_id(&rule.rule_id) {
            return Err(RuleFaultReason::Id);
        }
        if self.rules.iter().any(|(other, _)| other.rule_id == rule.rule_id) {
            return Err(RuleFaultReason::RepeatedId);
        }
        if rule.pattern.len() > MAX_PATTERN_BYTES {
            return Err(RuleFaultReason::PatternTooLong);
        }
        if rule.replacement.len() > MAX_REPLACEMENT_BYTES {
            return Err(RuleFaultReason::ReplacementTooLong);
        }
        let regex = compile(&rule.pattern)?;
        // Such matches are passed over, so that a rule with nothing but those would do nothing, silently.
        match ["", "a b"].iter().any(|text| regex.find_iter(text.as_bytes()).any(|found| found.is_empty())) {
            true => Err(RuleFaultReason::MatchesNothing),
            false => Ok(regex),
        }
    }

    /// True without rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The names of the rules.
    pub fn rule_ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|(rule, _)| rule.rule_id.as_str())
    }

    /// The first rule that matches.
    pub fn matched(&self, text: &str) -> Option<&str> {
        let matched =
            |(_, regex): &&(Rule, Regex)| regex.find_iter(text.as_bytes()).any(|found| !found.is_empty());
        self.rules.iter().find(matched).map(|(rule, _)| rule.rule_id.as_str())
    }

    /// The text, masked, and what each rule found in it.
    pub fn text<'t>(&self, text: &'t str) -> (Cow<'t, str>, Vec<Hit<'_>>) {
        match self.bytes(text.as_bytes()) {
            (Cow::Borrowed(_), hits) => (Cow::Borrowed(text), hits),
            // Patterns that match parts of characters are refused.
            (Cow::Owned(masked), hits) => {
                let masked = String::from_utf8(masked);
                let masked = masked.unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
                (Cow::Owned(masked), hits)
            }
        }
    }

    /// The bytes, masked, and what each rule found in them. All rules see them as they came; where matches overlap, all of
    /// them is masked once, by the rule whose match begins first, or of several by the one that stands first.
    pub fn bytes<'t>(&self, bytes: &'t [u8]) -> (Cow<'t, [u8]>, Vec<Hit<'_>>) {
        let (mut spans, mut hits): (Vec<Span>, Vec<Hit<'_>>) = (Vec::new(), Vec::new());
        for (place, (rule, regex)) in self.rules.iter().enumerate() {
            let before = spans.len();
            let mut hit = Hit { rule_id: &rule.rule_id, count: 0, bytes: 0 };
            for found in regex.find_iter(bytes).filter(|found| !found.is_empty()) {
                spans.push((found.start(), found.end(), place));
                hit.count = hit.count.saturating_add(1);
                hit.bytes = hit.bytes.saturating_add(found.len() as u64);
            }
            if hit.count > 0 {
                hits.push(hit);
            }
            // At each rule, so that never more of them are held than there are bytes, twice.
            if before > 0 && spans.len() > before {
                spans = united(spans);
            }
        }
        if spans.is_empty() {
            (Cow::Borrowed(bytes), hits)
        } else {
            (Cow::Owned(self.put(bytes, &spans)), hits)
        }
    }

    /// The bytes with `*` in place of each that is masked, so that all others stand where they stood; line feeds stay.
    pub fn cover(&self, bytes: &mut [u8]) -> Vec<Hit<'_>> {
        let mut hits = Vec::new();
        let before = bytes.to_vec();
        for (rule, regex) in &self.rules {
            let mut hit = Hit { rule_id: &rule.rule_id, count: 0, bytes: 0 };
            for found in regex.find_iter(&before).filter(|found| !found.is_empty()) {
                let covered = bytes.get_mut(found.range()).unwrap_or_default();
                covered.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
                hit.count = hit.count.saturating_add(1);
                hit.bytes = hit.bytes.saturating_add(found.len() as u64);
            }
            hits.extend((hit.count > 0).then_some(hit));
        }
        hits
    }

    fn put(&self, bytes: &[u8], spans: &[Span]) -> Vec<u8> {
        let (mut out, mut from) = (Vec::with_capacity(bytes.len()), 0);
        for (start, end, place) in spans {
            out.extend(bytes.get(from..*start).unwrap_or_default());
            out.extend(self.rules.get(*place).map_or("", |(rule, _)| &rule.replacement).bytes());
            from = *end;
        }
        out.extend(bytes.get(from..).unwrap_or_default());
        out
    }
}

/// Stretches in order, those that overlap as one.
fn united(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable_by_key(|(start, _, place)| (*start, *place));
    spans.dedup_by(|later, earlier| {
        let overlaps = later.0 < earlier.1;
        if overlaps {
            earlier.1 = earlier.1.max(later.1);
        }
        overlaps
    });
    spans
}

/// A pattern that matches whole characters alone, in text and in bytes.
fn compile(pattern: &str) -> Result<Regex, RuleFaultReason> {
    let told = |error: regex::Error| {
        let told = error.to_string();
        RuleFaultReason::Pattern(told.lines().last().unwrap_or_default().to_owned())
    };
    let whole = regex::RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).build();
    whole.map_err(told)?;
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rule_id: &str, pattern: &str, replacement: &str) -> Rule {
        Rule { rule_id: rule_id.into(), pattern: pattern.into(), replacement: replacement.into() }
    }

    fn masked(rules: &[Rule], text: &str) -> (String, Vec<(String, u64, u64)>) {
        let masks = Masks::parse(rules).unwrap();
        let (masked, hits) = masks.text(text);
        let (bytes, same) = masks.bytes(text.as_bytes());
        assert_eq!((masked.as_bytes(), &hits), (&*bytes, &same), "text and bytes are masked alike");
        (masked.into(), hits.iter().map(|hit| (hit.rule_id.to_owned(), hit.count, hit.bytes)).collect())
    }

    #[test]
    fn every_match_is_masked_and_counted() {
        let aws = rule("aws", "AKIA[0-9A-Z]{16}", "***");
        let key = "AKIAIOSFODNN7EXAMPLE";
        assert_eq!(masked(std::slice::from_ref(&aws), "nothing"), ("nothing".into(), vec![]));
        assert_eq!(
            masked(&[aws], &format!("é{key}, {key}é")),
            ("é***, ***é".into(), vec![("aws".into(), 2, 40)])
        );
    }

    #[test]
    fn what_several_rules_match_is_masked_whole_whatever_their_order() {
        let rules =
            [rule("a", "secret-[a-f]+", "<a>"), rule("b", "ret-[a-z]+", "<b>"), rule("c", "<a>", "!")];
        assert_eq!(
            masked(&rules, "my secret-abcxyz ret-x"),
            ("my <a> <b>".into(), vec![("a".into(), 1, 10), ("b".into(), 2, 15)])
        );
        let mut reversed = rules;
        reversed.reverse();
        assert_eq!(masked(&reversed, "my secret-abcxyz ret-x").0, "my <a> <b>");
    }

    #[test]
    fn a_replacement_is_put_as_it_stands_and_never_masked_again() {
        let rules = [rule("digits", "[0-9]+", "$0 1 ${x}"), rule("ones", "1", "2")];
        assert_eq!(masked(&rules, "77 a").0, "$0 1 ${x} a");
    }

    #[test]
    fn bytes_that_are_no_text_are_masked_too() {
        let masks = Masks::parse(&[rule("k", "key-[0-9]+", "***")]).unwrap();
        let (masked, hits) = masks.bytes(b"\xff\xfekey-12\xff");
        assert_eq!((&*masked, hits.len()), (&b"\xff\xfe***\xff"[..], 1));
    }

    #[test]
    fn one_set_of_rules_is_made_ready_once() {
        let rules = [rule("once", "once-[0-9]+", "***")];
        let (a, b) = (Masks::shared(&rules).unwrap(), Masks::shared(&rules).unwrap());
        assert!(Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &Masks::shared(&[rule("twice", "once-[0-9]+", "***")]).unwrap()));
    }

    #[test]
    fn rules_that_cannot_work_are_refused_at_the_member() {
        let wrong = |rules: &[Rule]| Masks::parse(rules).unwrap_err().pointer();
        for pattern in
            ["", "a*", "x|", "\\b", "^", "(", "(?-u:\\xff)", "(?-u:.)", "\\w{500}{500}", &"x".repeat(1_025)]
        {
            assert_eq!(wrong(&[rule("ok", "ok", ""), rule("r", pattern, "")]), "/1/pattern", "{pattern}");
        }
        assert_eq!(wrong(&[rule("a b", "x", "")]), "/0/rule_id");
        assert_eq!(wrong(&[rule("a", "x", ""), rule("a", "y", "")]), "/1/rule_id");
        assert_eq!(wrong(&[rule("a", "x", &"é".repeat(33))]), "/0/replacement");
        let many: Vec<Rule> = (0..51).map(|i| rule(&format!("r{i}"), "x", "")).collect();
        assert_eq!(wrong(&many), "/50");
    }
}
