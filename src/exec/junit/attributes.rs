//! The attributes of an element, as far as they say something to us.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use super::text::Text;

/// How many of an element are looked at: that none stands twice is found by comparing each with each.
const MAX_ATTRIBUTES: usize = 64;
/// How much of a name is kept, in bytes.
const LONGEST_NAME: usize = 512;
const READ: [&str; 13] = [
    "classname",
    "disabled",
    "errors",
    "failures",
    "file",
    "message",
    "name",
    "skipped",
    "skips",
    "status",
    "tests",
    "time",
    "type",
];

/// Those attributes of an element that say something to us.
pub(super) struct Attributes<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    /// None if they are not well-formed.
    pub(super) fn of(tag: &'a BytesStart<'_>) -> Option<Self> {
        let mut attributes = Vec::new();
        for attribute in tag.attributes().take(MAX_ATTRIBUTES) {
            let attribute = attribute.ok()?;
            if let Some(name) = READ.into_iter().find(|name| *name == attribute.key.as_ref()) {
                attributes.push((name, attribute.normalized_value(XmlVersion::Implicit1_0).ok()?));
            }
        }
        Some(Self(attributes))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| &**value)
    }

    pub(super) fn name(&self, name: &str) -> Text {
        Text::of(self.get(name).unwrap_or_default(), LONGEST_NAME)
    }

    /// `time` is in seconds; Surefire groups its digits in thousands.
    pub(super) fn duration_ms(&self) -> Option<u64> {
        let time = self.get("time")?.trim();
        let seconds: f64 =
            if time.contains('.') { time.replace(',', "").parse() } else { time.parse() }.ok()?;
        (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1_000.0).round() as u64)
    }
}
