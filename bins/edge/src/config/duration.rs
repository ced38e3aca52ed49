//! Durations as Go writes them: `300ms`, `20s`, `1h30m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads a duration; `None` when the text is none. A plain number counts nanoseconds, as in Go.
pub fn parse(text: &str) -> Option<Duration> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanos));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(sum)
}

/// For `#[serde(deserialize_with = …)]`.
///
/// # Errors
/// When the text is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| {
        serde::de::Error::custom(format_args!(
            "{text:?} is not a duration: write it like 300ms, 20s or 1h30m"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        let check = |text, millis: Option<u64>| {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        };
        check("20s", Some(20_000));
        check("300ms", Some(300));
        check("1h30m", Some(5_400_000));
        check("1.5s", Some(1500));
        check("175200h", Some(630_720_000_000));
        check("0", Some(0));
        check("", None);
        check("20", Some(0));
        check("s", None);
        check("20 s", None);
        check("-1s", None);
    }
}
