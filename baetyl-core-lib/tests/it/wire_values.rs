//! The small values of the wire: times, bytes, names, sections.

use baetyl_core_lib::clock::Random as _;
use baetyl_core_lib::spec::name::ServiceName;
use baetyl_core_lib::spec::{
    AppInfo, AppName, Delta, Kind, Message, NodeName, Report, Section, Timestamp, Version, base64,
};
use baetyl_core_lib::testing::SeededRandom;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn times_are_written_as_go_writes_them() {
    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(Timestamp::parse(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
    }
    for kept in [
        "0001-01-01T00:00:00Z",
        "2024-03-02T02:15:31.104233871Z",
        "2024-03-02T10:11:12+08:00",
        "2024-03-02T10:11:12.5-03:30",
    ] {
        check(kept, Some(kept));
    }
    check("2024-03-02T10:11:12.500000000Z", Some("2024-03-02T10:11:12.5Z"));
    for no_time in ["", "2024-03-02", "2024-03-02T10:11:12", "2024-13-02T10:11:12Z", "2024-03-02T25:11:12Z"] {
        check(no_time, None);
    }
}

#[test]
fn a_moment_that_cannot_be_written_is_the_zero_time() {
    for time in [
        Timestamp::from_unix(i64::MIN),
        Timestamp::from_unix(-100_000_000_000),
        Timestamp::from_unix(i64::MAX),
    ] {
        assert!(time.is_zero());
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"0001-01-01T00:00:00Z\"");
    }
    let end = Timestamp::from_unix(0).saturating_add(std::time::Duration::MAX);
    assert!(serde_json::to_string(&end).is_ok());
}

#[test]
fn the_same_moment_in_another_zone_is_equal() {
    assert_eq!(Timestamp::parse("2024-03-02T08:00:00+08:00"), Timestamp::parse("2024-03-02T00:00:00Z"));
}

#[test]
fn names_follow_the_rules_of_the_cloud() {
    #[track_caller]
    fn check<T: std::fmt::Debug, E>(parse: fn(&str) -> Result<T, E>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }
    let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
    check(
        AppName::parse,
        &["ab", "a.b", "9-9", "baetyl-core-8xk2mq7ab", &longest],
        &["", "a", "-ab", "ab-", ".ab", "ab.", "Ab", "a_b", "a/b", "..", "a b", "ä1", &too_long],
    );
    check(ServiceName::parse, &["ab", "a-b"], &["a.b", "a"]);
    check(
        Version::parse,
        &["1", "1795389603bdbgsl", "v1.2.3+x_y"],
        &["", ".", "..", ".1", "a/b", "a b", "\n"],
    );
    check(NodeName::parse, &["n", "edge-a", "Edge_1.lab"], &["", ".", "..", "a/b", "a\0"]);
    assert!(serde_json::from_value::<AppName>(json!("../etc")).is_err());
    assert_eq!(json!(AppName::parse("web").unwrap()), json!("web"));
}

#[test]
fn base64_is_standard_and_padded() {
    assert_eq!(base64::encode(&[0, 1, 2, 255]), "AAEC/w==");
    for text in ["AAEC/w", "AAEC_w==", "AAEC/w= =", "A", "????"] {
        assert_eq!(base64::decode(text), None, "{text}");
    }
}

#[test]
fn a_section_is_absent_null_or_a_value() {
    for (text, expected) in [
        ("{}", Section::Absent),
        (r#"{"apps":null}"#, Section::Null),
        (r#"{"apps":[]}"#, Section::Is(vec![])),
        (r#"{"apps":[{"name":"a","version":"1"}]}"#, Section::Is(vec![AppInfo::new("a", "1")])),
    ] {
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(report.apps, expected);
        assert_eq!(serde_json::to_string(&report).unwrap(), text);
        let delta: Delta = serde_json::from_str(text).unwrap();
        assert_eq!((&delta.apps, serde_json::to_string(&delta).unwrap().as_str()), (&expected, text));
    }
}

#[test]
fn the_content_of_a_message_travels_byte_for_byte() {
    let text =
        r#"{"kind":"thing.event.post","meta":{"a":"b"},"content":{ "b":1.0,"a":18446744073709551615 }}"#;
    let message: Message = serde_json::from_str(text).unwrap();
    assert_eq!(message.kind, Kind::Other("thing.event.post".to_owned()));
    assert_eq!(serde_json::to_string(&message).unwrap(), text);
    // Go's metadata and content may be null or not there.
    let bare: Message = serde_json::from_str(r#"{"kind":"keepalive","meta":null}"#).unwrap();
    assert_eq!((bare.meta.len(), bare.content.get()), (0, "null"));
}

#[test]
fn a_word_has_only_letters_that_names_may_have() {
    let word = SeededRandom::new(7).word(61);
    assert_eq!(word.len(), 61);
    assert!(AppName::parse(&word).is_ok());
}

proptest! {
    #[test]
    fn bytes_survive_base64(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(base64::decode(&base64::encode(&bytes)), Some(bytes));
    }

    #[test]
    fn a_time_survives_the_wire(nanos in -62_135_596_800_000_000_000i128..253_402_300_800_000_000_000) {
        let time = Timestamp::from_unix_nanos(nanos);
        prop_assert_eq!(time.as_unix_nanos(), nanos);
        let back: Timestamp = serde_json::from_value(json!(time)).unwrap();
        prop_assert_eq!(back, time);
    }

    #[test]
    fn a_name_is_always_one_plain_path_segment(text in "[a-zA-Z0-9._/\\\\+ -]{0,6}|\\PC{0,4}") {
        let valid = [
            AppName::parse(&text).is_ok(),
            ServiceName::parse(&text).is_ok(),
            Version::parse(&text).is_ok(),
            NodeName::parse(&text).is_ok(),
        ];
        if valid.contains(&true) {
            let segments: Vec<_> = std::path::Path::new(&text).components().collect();
            prop_assert_eq!(segments, [std::path::Component::Normal(text.as_ref())]);
            prop_assert!(!text.starts_with('.') && text.is_ascii());
        }
    }
}
