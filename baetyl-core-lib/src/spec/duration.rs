//! Durations as Go writes them in configuration files and labels: `300ms`, `20s`, `1h30m`. Pure.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{self, Visitor};

/// Reads a duration; `None` when the text is none. There are no negative ones.
///
/// A plain number counts nanoseconds, as the original reads its configuration files.
///
/// ```
/// use std::time::Duration;
///
/// use baetyl_core_lib::spec::duration;
///
/// assert_eq!(duration::parse("1m30s"), Some(Duration::from_secs(90)));
/// assert_eq!(duration::parse("soon"), None);
/// ```
pub fn parse(text: &str) -> Option<Duration> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanos));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = tail;
    }
    Some(sum)
}

/// Reads a duration, for `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// When the text is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Text)
}

/// As [`deserialize`], for a key that may be missing.
///
/// # Errors
/// When the text is no duration.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserialize(deserializer).map(Some)
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration like 300ms, 20s or 1h30m")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| {
            E::custom(format_args!("{text:?} is not a duration: write it like 300ms, 20s or 1h30m"))
        })
    }

    fn visit_u64<E: de::Error>(self, nanos: u64) -> Result<Duration, E> {
        Ok(Duration::from_nanos(nanos))
    }

    fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<Duration, E> {
        let negative = || E::custom(format_args!("{nanos} is negative: write a duration like 20s"));
        u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| negative())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        };
        check("20s", Some(20_000));
        check("300ms", Some(300));
        check("1h30m", Some(5_400_000));
        check("1.5s", Some(1500));
        check("+2s", Some(2000));
        check("2000µs", Some(2));
        check("175200h", Some(630_720_000_000));
        check("0", Some(0));
        check("5000000", Some(5));
        for text in ["", "+", "s", "20 s", "5d", "-1s", "1.2.3s", "s20", "99999999999999999999h"] {
            check(text, None);
        }
    }

    #[test]
    fn a_text_that_is_none_is_named_with_how_to_write_it() {
        #[derive(Debug, serde::Deserialize)]
        struct Section {
            #[serde(default, deserialize_with = "optional")]
            interval: Option<Duration>,
        }
        let read = serde_json::from_str::<Section>;
        assert_eq!(read(r#"{"interval": "1s"}"#).unwrap().interval, Some(Duration::from_secs(1)));
        assert_eq!(read(r#"{"interval": 5000}"#).unwrap().interval, Some(Duration::from_micros(5)));
        assert_eq!(read("{}").unwrap().interval, None);
        let error = read(r#"{"interval": "soon"}"#).unwrap_err().to_string();
        assert!(error.contains("\"soon\" is not a duration: write it like"), "{error}");
    }
}
