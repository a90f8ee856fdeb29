//! Moments, in the one text form that the format has (ENVELOPE.md section 3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::canonical::Value;

/// A moment in UTC, to the millisecond, in the years 0001–9999.
///
/// Its text form is RFC 3339 with `Z` and exactly three decimals: `2026-11-21T08:00:00.000Z`. Times in that form sort as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00.000Z.
    unix_ms: i64,
}

/// What of a text is not a time in the form of [`Timestamp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

const MIN_MS: i64 = -62_135_596_800_000;
const MAX_MS: i64 = 253_402_300_799_999;
const DAY_MS: i64 = 86_400_000;

impl Timestamp {
    /// The moment so many milliseconds after 1970 began; the nearest end where that is outside the years 0001–9999.
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        Self { unix_ms: unix_ms.clamp(MIN_MS, MAX_MS) }
    }

    /// Milliseconds since 1970-01-01T00:00:00.000Z.
    pub fn unix_ms(self) -> i64 {
        self.unix_ms
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.unix_ms.div_euclid(DAY_MS));
        let ms = self.unix_ms.rem_euclid(DAY_MS);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        parse(text.as_bytes()).map(Self::from_unix_ms).ok_or(NotATime)
    }
}

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time: one like 2026-11-21T08:00:00.000Z expected")
    }
}

impl std::error::Error for NotATime {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        time.to_string().into()
    }
}

#[expect(clippy::arithmetic_side_effects, reason = "every part is at most four digits")]
fn parse(text: &[u8]) -> Option<i64> {
    let (mut parts, mut seen) = ([0_i64; 7], 0);
    let pattern = b"YYYY-MM-DDThh:mm:ss.fffZ";
    if text.len() != pattern.len() {
        return None;
    }
    for (i, (&byte, &expected)) in text.iter().zip(pattern).enumerate() {
        if !expected.is_ascii_alphabetic() || matches!(expected, b'T' | b'Z') {
            (byte == expected).then_some(())?;
            continue;
        }
        if i > 0 && pattern.get(i - 1) != Some(&expected) {
            seen += 1;
        }
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        let part = parts.get_mut(seen)?;
        *part = *part * 10 + digit;
    }
    let [year, month, day, hour, minute, second, ms] = parts;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let real = year >= 1 && (1..=month_days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let days = days_from_civil(year, month, day);
    real.then(|| days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1_000 + ms)
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. The year begins in March here, so that
/// the leap day is its last.
#[expect(clippy::arithmetic_side_effects, reason = "years are at most 9999")]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The inverse of [`days_from_civil`]: (year, month, day).
#[expect(clippy::arithmetic_side_effects, reason = "days are those of the years 0001–9999")]
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_years_0001_to_9999_has_one_text_form() {
        let mut before = String::new();
        for day in MIN_MS / DAY_MS..=MAX_MS / DAY_MS {
            let time = Timestamp::from_unix_ms(day * DAY_MS + day.rem_euclid(DAY_MS));
            let text = time.to_string();
            assert_eq!(text.parse(), Ok(time), "{text}");
            assert!(before < text, "{before} {text}");
            before = text;
        }
        assert!(before.starts_with("9999-12-31T"));
        assert_eq!(Timestamp::from_unix_ms(i64::MIN).to_string(), "0001-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_not_a_real_moment_in_this_form_is_refused() {
        for wrong in [
            "",
            "2026-11-21",
            "2026-11-21T08:00:00Z",
            "2026-11-21T08:00:00.0000Z",
            "2026-11-21t08:00:00.000Z",
            "2026-11-21T08:00:00.000z",
            "2026-02-29T08:00:00.000Z",
            "1900-02-29T08:00:00.000Z",
            "2026-13-01T08:00:00.000Z",
            "2026-00-01T08:00:00.000Z",
            "2026-11-31T08:00:00.000Z",
            "2026-11-00T08:00:00.000Z",
            "2026-11-21T24:00:00.000Z",
            "2026-11-21T08:60:00.000Z",
            "2026-11-21T08:00:60.000Z",
            "0000-01-01T00:00:00.000Z",
            "+026-11-21T08:00:00.000Z",
            "2026-11-21T08:00:00.000+",
            "२०२६-11-21T08:00:00.000Z",
        ] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(NotATime), "{wrong}");
        }
        assert!("2000-02-29T23:59:59.999Z".parse::<Timestamp>().is_ok());
    }
}
