//! Names that were checked once and are valid ever after: safe as file names, labels and addresses.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct NameError {
    /// What was to be named.
    pub what: &'static str,
    /// The text that was given.
    pub text: String,
    /// The rule that it breaks, in words.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Checks the text.
            ///
            /// # Errors
            /// [`NameError`] says which rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { what: $what, text: text.to_owned(), rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of an application, configuration, secret or volume.
    ///
    /// ```
    /// # use baetyl_core_lib::spec::AppName;
    /// assert!(AppName::parse("timer-app").is_ok());
    /// assert!(AppName::parse("../etc").is_err());
    /// ```
    AppName,
    "name",
    "2 to 63 of a-z, 0-9, '-' and '.', starting and ending with a letter or digit",
    |text| resource_name(text, true)
);

name!(
    /// The name of a service inside an application: as [`AppName`], without the dot.
    ServiceName,
    "service name",
    "2 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit",
    |text| resource_name(text, false)
);

name!(
    /// A version: opaque, compared for equality only, and part of folder names.
    Version,
    "version",
    "1 to 128 of A-Z, a-z, 0-9, '-', '_', '+' and '.', not starting with a dot",
    |text| {
        (1..=128).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte))
    }
);

name!(
    /// The name of a node: what follows the first dot of its certificate's common name.
    NodeName,
    "node name",
    "1 to 253 of A-Z, a-z, 0-9, '-', '_' and '.', not starting with a dot",
    |text| {
        (1..=253).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    }
);

fn resource_name(text: &str, dots: bool) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (2..=63).contains(&bytes.len())
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || (dots && *b == b'.'))
}
