//! Messages between cloud and node: a kind, metadata, and content that only its reader understands.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// What a message is about. Unknown kinds travel through unchanged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A node's report, and in its answer the delta to the desire.
    Report,
    /// A request for resources, and its answer.
    Desire,
    /// A request to be told when there is news; ours only (`docs/PROTOCOL.md`).
    Changes,
    /// Nothing but a sign of life.
    KeepAlive,
    /// A remote command.
    Command,
    /// Bytes of a remote session.
    Data,
    /// An error; the content is its text.
    Error,
    /// An answer to a request of an application.
    Response,
    /// A change of desire that nobody asked for.
    Delta,
    /// An event of an application.
    Event,
    /// New desired node properties.
    NodeProps,
    /// Devices of the node.
    Devices,
    /// Any other kind, as it stands on the wire.
    Other(String),
}

impl Kind {
    /// The kind as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Report => "report",
            Self::Desire => "desire",
            Self::Changes => "changes",
            Self::KeepAlive => "keepalive",
            Self::Command => "cmd",
            Self::Data => "data",
            Self::Error => "error",
            Self::Response => "response",
            Self::Delta => "delta",
            Self::Event => "event",
            Self::NodeProps => "nodeProps",
            Self::Devices => "devices",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Kind {
    fn from(text: &str) -> Self {
        match text {
            "report" => Self::Report,
            "desire" => Self::Desire,
            "changes" => Self::Changes,
            "keepalive" => Self::KeepAlive,
            "cmd" => Self::Command,
            "data" => Self::Data,
            "error" => Self::Error,
            "response" => Self::Response,
            "delta" => Self::Delta,
            "event" => Self::Event,
            "nodeProps" => Self::NodeProps,
            "devices" => Self::Devices,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(&*text))
    }
}

/// One message. Over HTTP the content alone is the body and the metadata are headers; other links
/// carry the whole frame (edge.md 1.5, 5.3).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    /// What it is about.
    pub kind: Kind,
    /// Metadata; `null` on the wire reads as empty.
    #[serde(default, deserialize_with = "super::wire::null_as_default")]
    pub meta: BTreeMap<String, String>,
    /// The content, byte for byte as it came: JSON, `null` when there is none.
    #[serde(default = "null")]
    pub content: Box<RawValue>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

impl Message {
    /// A message of this kind without metadata or content.
    pub fn new(kind: Kind) -> Self {
        Self { kind, meta: BTreeMap::new(), content: null() }
    }

    /// The same message with `content` encoded as JSON.
    ///
    /// # Errors
    /// When the value cannot be JSON, for instance a map whose keys are not text.
    pub fn with_content<T: Serialize + ?Sized>(mut self, content: &T) -> serde_json::Result<Self> {
        self.content = serde_json::value::to_raw_value(content)?;
        Ok(self)
    }

    /// The same message with one more entry of metadata.
    #[must_use]
    pub fn with_meta(mut self, key: &str, value: impl Into<String>) -> Self {
        self.meta.insert(key.to_owned(), value.into());
        self
    }

    /// Decodes the content.
    ///
    /// # Errors
    /// When the content is not a `T`; the error names line and column.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.content.get())
    }
}
