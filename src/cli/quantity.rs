//! Periods and sizes as people write them.

use std::str::FromStr;

/// A period: `90s`, `15m`, `24h`, `7d`, `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) ms: i64,
}

/// A number of bytes: `256MiB`, `1GiB`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) u64);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        read(text, &units)
            .and_then(|ms| i64::try_from(ms).ok())
            .map(|ms| Self { ms })
            .ok_or_else(|| "a period like 30s, 15m, 24h or 7d expected".to_owned())
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("", 1)];
        read(text, &units).map(Self).ok_or_else(|| "a size like 256MiB or 1GiB expected".to_owned())
    }
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_sizes_are_read_with_their_units_and_not_without() {
        assert_eq!("90s".parse(), Ok(Period { ms: 90_000 }));
        assert_eq!("500ms".parse(), Ok(Period { ms: 500 }));
        assert_eq!("24h".parse(), Ok(Period { ms: 86_400_000 }));
        {
            assert_eq!("256MiB".parse(), Ok(Bytes(256 << 20)));
            assert_eq!("4096".parse(), Ok(Bytes(4096)));
            for wrong in ["", "MiB", "1MB", "x"] {
                assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
            }
        }
        for wrong in ["", "s", "1", "-1s", "1.5h", "9999999999999999999d", "1 h"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }
}
