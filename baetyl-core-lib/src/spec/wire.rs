//! What Go's JSON does and serde does not by itself: keys that are absent, null or set; times; bytes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A key of a document that may be absent, `null`, or have a value. Merge patches need all three.
///
/// Use with `#[serde(default, skip_serializing_if = "Section::is_absent")]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Section<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there and is `null`.
    Null,
    /// The key has this value.
    Is(T),
}

impl<T> Section<T> {
    /// Whether the key is not there at all.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value, when there is one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value, when there is one.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<T> From<Option<T>> for Section<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Self::Is)
    }
}

impl<T: Serialize> Serialize for Section<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_none(),
            Self::Is(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Null, Self::Is))
    }
}

/// A moment on the wall clock: RFC 3339 on the wire, with as many digits of a second as needed.
///
/// The default is Go's zero time, `0001-01-01T00:00:00Z`, which stands for "not set" and is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Go's zero time, which stands for "not set".
    pub const ZERO: Self = Self(match OffsetDateTime::from_unix_timestamp(-62_135_596_800) {
        Ok(moment) => moment,
        Err(_) => OffsetDateTime::UNIX_EPOCH,
    });

    /// The moment `seconds` after 1970-01-01T00:00:00Z. Out of the years 0 to 9999 gives the zero time.
    pub fn from_unix(seconds: i64) -> Self {
        OffsetDateTime::from_unix_timestamp(seconds).map_or(Self::ZERO, Self::or_zero)
    }

    /// The moment `nanos` nanoseconds after 1970-01-01T00:00:00Z. Out of the years 0 to 9999 gives the zero
    /// time.
    pub fn from_unix_nanos(nanos: i128) -> Self {
        OffsetDateTime::from_unix_timestamp_nanos(nanos).map_or(Self::ZERO, Self::or_zero)
    }

    /// RFC 3339 has no negative years: such a moment could never be sent.
    const fn or_zero(moment: OffsetDateTime) -> Self {
        if moment.year() < 0 { Self::ZERO } else { Self(moment) }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, negative before.
    pub const fn as_unix(&self) -> i64 {
        self.0.unix_timestamp()
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, negative before.
    pub const fn as_unix_nanos(&self) -> i128 {
        self.0.unix_timestamp_nanos()
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// This moment moved by `delta`; stops at the ends of the calendar.
    #[must_use]
    pub fn saturating_add(self, delta: std::time::Duration) -> Self {
        time::Duration::try_from(delta).map_or(self, |delta| Self(self.0.saturating_add(delta)))
    }

    /// Reads RFC 3339; `None` when it is not.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(Self)
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("time {text:?} is not RFC 3339")))
    }
}

/// Whether a value is its type's zero value, which Go's `omitempty` leaves out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A list or map that Go may send as `null` although it is never anything but a list or map.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Bytes as standard, padded base64 text, as Go encodes `[]byte`.
pub mod base64 {
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Encodes with padding.
    pub fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    /// Decodes standard padded base64. `None` when it is not.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }

    /// For `#[serde(with = …)]` on bytes.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    /// For `#[serde(with = …)]` on bytes; `null` reads as none.
    ///
    /// # Errors
    /// When the text is not base64.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = Option::<std::borrow::Cow<'de, str>>::deserialize(deserializer)?.unwrap_or_default();
        decode(&text).ok_or_else(|| serde::de::Error::custom("text is not standard base64"))
    }
}
