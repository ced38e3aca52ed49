//! Placeholders in what the cloud sends: `{{.NAME}}` for a short list of names (edge.md 5.1). Pure.
//!
//! Everything else between braces is the user's own text and stays as it is.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The names that are substituted. No other variable of the environment may reach a document.
const NAMES: [&str; 7] = [
    "BAETYL_APP_NAME",
    "BAETYL_HOST_PATH_LIB",
    "BAETYL_NODE_NAME",
    "BAETYL_NODE_NAMESPACE",
    "BAETYL_RUN_MODE",
    "BAETYL_SERVICE_NAME",
    "KUBE_NODE_NAME",
];

/// The library path of an installation, where nobody says another.
const HOST_PATH_LIB: &str = "/var/lib/baetyl";

/// What placeholders stand for, ready to be put into JSON text.
#[derive(Debug, Clone)]
pub(crate) struct Templates(BTreeMap<&'static str, String>);

impl Templates {
    /// Takes the listed names out of an environment.
    pub(crate) fn new(mut env: BTreeMap<String, String>) -> Self {
        env.entry("BAETYL_HOST_PATH_LIB".to_owned()).or_insert_with(|| HOST_PATH_LIB.to_owned());
        Self(NAMES.iter().filter_map(|name| Some((*name, escaped(&env.remove(*name)?)))).collect())
    }

    /// The text with all known placeholders substituted.
    pub(crate) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut done = String::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            match self.placeholder(&rest[open..]) {
                Some((length, value)) => {
                    done.push_str(&rest[..open]);
                    done.push_str(value);
                    rest = &rest[open + length..];
                }
                // One brace on, not two: `{{{.NAME}}` holds a placeholder as well.
                None => {
                    done.push_str(&rest[..=open]);
                    rest = &rest[open + 1..];
                }
            }
        }
        if done.is_empty() {
            return Cow::Borrowed(text);
        }
        done.push_str(rest);
        Cow::Owned(done)
    }

    /// The length and the value of the placeholder that `text` starts with.
    fn placeholder(&self, text: &str) -> Option<(usize, &str)> {
        let inner = text.strip_prefix("{{")?;
        let end = inner.find("}}")?;
        let name = inner[..end].trim_matches(' ').strip_prefix('.')?;
        Some((end + 4, self.0.get(name)?))
    }
}

/// The value as it stands between the quotes of a JSON text.
fn escaped(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn templates() -> Templates {
        let env = [
            ("BAETYL_NODE_NAME", "edge\"1\\"),
            ("KUBE_NODE_NAME", "{{.BAETYL_NODE_NAME}}"),
            ("HOME", "/root"),
        ];
        Templates::new(env.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn known_names_are_substituted_and_everything_else_stays() {
        for (text, expected) in [
            (r#""{{.BAETYL_NODE_NAME}}""#, r#""edge\"1\\""#),
            (r#""{{ .BAETYL_NODE_NAME }}/x""#, r#""edge\"1\\/x""#),
            ("{{.BAETYL_HOST_PATH_LIB}}", "/var/lib/baetyl"),
            ("{{{.BAETYL_HOST_PATH_LIB}}", "{/var/lib/baetyl"),
            ("{{.HOME}} {{.NOBODY}} {{ if }} {{", "{{.HOME}} {{.NOBODY}} {{ if }} {{"),
            ("{{.BAETYL_APP_NAME}}", "{{.BAETYL_APP_NAME}}"),
            ("{{BAETYL_NODE_NAME}}", "{{BAETYL_NODE_NAME}}"),
        ] {
            assert_eq!(templates().apply(text), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_never_read_as_a_template_itself() {
        assert_eq!(templates().apply("{{.KUBE_NODE_NAME}}"), "{{.BAETYL_NODE_NAME}}");
    }

    proptest! {
        #[test]
        fn text_without_known_names_is_unchanged(text in "[{}. a-zA-Zé\"\\\\_]{0,60}") {
            prop_assume!(!NAMES.iter().any(|name| text.contains(name)));
            prop_assert_eq!(templates().apply(&text), text.as_str());
        }

        #[test]
        fn json_stays_json(parts in proptest::collection::vec(
            prop_oneof![Just("{{.BAETYL_NODE_NAME}}".to_owned()), "[{}a-z\"\\\\ .]{0,8}".prop_map(String::from)], 0..6,
        )) {
            let text = serde_json::Value::from(parts.concat()).to_string();
            prop_assert!(serde_json::from_str::<String>(&templates().apply(&text)).is_ok());
        }
    }
}
