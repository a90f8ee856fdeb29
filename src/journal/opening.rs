//! A run's first record.

use super::body::{Body, JournalRecord};
use super::entry::{check_reserved, request_digest};
use super::recording::Gathered;
use super::redacted::{Masked, redactions, room_for_outcome};
use super::refusal::Refusal;
use super::request::Around;
use super::run::Run;
use super::settings::{Settings, SettingsFault, pointers};
use super::standing::Overview;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::{is_id, is_path_id};
use crate::evidence::envelope::{Fault, FaultReason, Kind};
use crate::evidence::record::{Circumstances, Size, Tally};

/// What a producer asks to open.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    members: Object<'static>,
    /// Pointers to what this run withholds besides what its project does; in order, each once.
    private: Vec<String>,
}

impl Opening {
    /// Reads what was sent: `project`, what a run element may have, and `private`, which is none of it.
    pub fn parse(sent: Value<'_>) -> Result<Self, Refusal> {
        let Value::Object(sent) = sent else { return Err(Fault::expected("an object").into()) };
        check_reserved(&sent)?;
        let mut members = sent.into_owned();
        match members.remove("type") {
            None => {}
            Some(kind) if kind.as_text() == Some("run") => {}
            Some(_) => return Err(Fault::expected("\"run\", or no `type`").under("type").into()),
        }
        let private = members.remove("private").map(|sent| pointers(&sent)).transpose();
        let mut private = private.map_err(|fault| fault.under("private"))?.unwrap_or_default();
        private.sort_unstable();
        private.dedup();
        check_id(&members, "project", is_path_id)?;
        if members.get("run_id").is_some() {
            check_id(&members, "run_id", is_id)?;
        }
        Ok(Self { members, private })
    }

    /// The project.
    pub fn project(&self) -> &str {
        self.members.text("project").unwrap_or_default()
    }

    /// The producer's name for the run, if it gave one.
    pub fn run_id(&self) -> Option<&str> {
        self.members.text("run_id")
    }

    /// Whether this is the request that opened that run, as far as its rules let it be known.
    pub fn opened(&self, run: &Overview) -> bool {
        let masks = run.settings.masks().ok();
        let masked = masks.and_then(|masks| masks.mask(Kind::Run, self.members.clone()).ok());
        masked.is_some_and(|masked| request_of(masked.members, &self.private) == run.request)
    }

    /// The run with its first records: itself, and what was masked in it. `sequence` and `project_seq` are its place among the
    /// project's runs, `settings` are those of its project.
    pub fn open(
        self,
        evidence_id: &str,
        (sequence, project_seq): (&str, u64),
        settings: Settings,
        around: &mut Around<'_>,
    ) -> Result<(Run, Vec<JournalRecord>), Refusal> {
        let useless = |fault| match fault {
            SettingsFault::NotPrivate(_) => Fault::expected("pointers to private members"),
            SettingsFault::Rule(_) => Fault::expected("redaction rules that can be used"),
        };
        let settings = settings.withholding(&self.private).map_err(useless)?;
        let (private, masks) = settings.in_force().map_err(useless)?;
        let Masked { mut members, redacted, .. } = masks.mask(Kind::Run, self.members)?;
        let request = request_of(members.clone(), &self.private);
        if members.get("run_id").is_none() {
            members.insert("run_id", evidence_id.to_owned());
        }
        members.insert("evidence_id", evidence_id.to_owned());
        members.insert("sequence", sequence.to_owned());
        members.insert("project_seq", Value::count(project_seq));
        if let Some(name) = around.by {
            members.insert("reported_by", Object::from_iter([("name", name.to_owned())]));
        }
        let own = |member| members.text(member).unwrap_or_default().to_owned();
        let (run_id, project) = (own("run_id"), own("project"));
        let (element, _) = Tally::default().next(
            Kind::Run,
            members,
            &mut Circumstances {
                now: around.now,
                private: &private,
                salt: around.salt,
                limits: around.limits,
                reserve: room_for_outcome(&masks),
            },
        )?;
        let overview = Overview {
            run_id,
            evidence_id: evidence_id.to_owned(),
            project,
            opened_at: element.recorded_at,
            subject: shown(&element.text, "subject"),
            labels: shown(&element.text, "labels").unwrap_or_else(|| serde_json::json!({})),
            settings,
            request,
        };
        let withheld = element.disclosures.clone();
        let record = JournalRecord { pos: 0, at: element.recorded_at, request, body: Body::Element(element) };
        let mut run = Run::new(overview, private, masks);
        run.take(&record);
        let mut gathered = Gathered { records: vec![record], ..Gathered::default() };
        for redaction in redactions(Kind::Run, 0, &redacted, &withheld) {
            run.record(Kind::Redaction, redaction, request, Size::default(), &mut gathered, around)?;
        }
        run.settle();
        Ok((run, gathered.records))
    }
}

/// What is withheld by the run itself is part of what was asked.
fn request_of(mut members: Object<'static>, private: &[String]) -> Digest {
    if !private.is_empty() {
        members.insert("private", Value::List(private.iter().cloned().map(Value::from).collect()));
    }
    request_digest("run", &members)
}

fn check_id(members: &Object<'_>, member: &str, is: fn(&str) -> bool) -> Result<(), Refusal> {
    match members.get(member).map(Value::as_text) {
        None => Err(Fault::from(FaultReason::Missing).under(member).into()),
        Some(Some(id)) if is(id) => Ok(()),
        Some(_) => Err(Fault::expected("an id: 1–128 of A–Z a–z 0–9 . _ : -, first a letter or digit")
            .under(member)
            .into()),
    }
}

/// A member as it was recorded.
fn shown(text: &str, member: &str) -> Option<serde_json::Value> {
    let element = canonical::parse(text.as_bytes(), text.len()).ok()?;
    serde_json::to_value(element.as_object()?.get(member)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::envelope::limits::Limits;
    use crate::evidence::time::Timestamp;

    fn opening(private: &str) -> Result<Opening, Refusal> {
        let text = format!("{{\"project\":\"p\",\"intent\":\"why\",\"private\":{private}}}");
        Opening::parse(canonical::parse(text.as_bytes(), text.len()).unwrap())
    }

    fn open(private: &str) -> (Run, Vec<JournalRecord>) {
        let around = &mut Around {
            now: Timestamp::from_unix_ms(1_800_000_000_000),
            salt: &mut || [7; 16],
            limits: &Limits::default(),
            by: None,
            logs: &|_, _| None,
        };
        opening(private).unwrap().open("e", ("s", 0), Settings::default(), around).unwrap()
    }

    #[test]
    fn what_a_run_withholds_itself_is_withheld_besides_what_its_project_does() {
        let (run, records) = open("[\"/run/intent\"]");
        let element = records.first().and_then(JournalRecord::element).unwrap();
        assert!(!element.text.contains("why") && !element.text.contains("private"), "{}", element.text);
        assert_eq!(element.disclosures.first().map(|d| d.at.as_str()), Some("/run/intent"));
        let expected = ["/execution/steps/*/command", "/run/trigger/actor", "/run/intent"];
        assert_eq!(run.overview().settings.private, expected);
    }

    #[test]
    fn the_same_list_in_any_order_is_the_same_opening_and_another_is_not() {
        let (run, _) = open("[\"/run/intent\",\"/run/labels\"]");
        let same = |private: &str| opening(private).unwrap().opened(run.overview());
        assert!(same("[\"/run/intent\",\"/run/labels\"]"));
        assert!(same("[\"/run/labels\",\"/run/intent\",\"/run/labels\"]"));
        for other in ["[]", "\"*\"", "[\"/run/labels\"]"] {
            assert!(!same(other), "{other}");
        }
        assert!(opening("[]").unwrap().opened(open("[]").0.overview()));
    }

    #[test]
    fn a_pointer_that_may_not_be_private_is_refused_at_its_place() {
        for (private, at) in [
            ("[\"/run/project\"]", "/private/0"),
            ("[\"/run/intent\",7]", "/private/1"),
            ("\"all\"", "/private"),
        ] {
            assert_eq!(opening(private).unwrap_err().pointer().as_deref(), Some(at), "{private}");
        }
    }
}
