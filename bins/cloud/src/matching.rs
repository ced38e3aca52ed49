//! Which labels a selector means: the text form of Kubernetes' label selectors (cloud.md 5.1). Pure.

use std::collections::BTreeMap;

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?} is not a label selector: write for instance \"a=b\", \"a!=b\", \"a in (x,y)\", \"a\", \"!a\", \"a>1\""
)]
pub struct SelectorError {
    /// The requirement that cannot be read.
    pub part: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

/// A parsed selector: all its requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<(String, Test)>);

impl Selector {
    /// Reads the text form. The empty text gives a selector without requirements, which matches all.
    ///
    /// # Errors
    /// [`SelectorError`] with the requirement that cannot be read.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        split(text)
            .into_iter()
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                requirement(part.trim()).ok_or_else(|| SelectorError { part: part.trim().to_owned() })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the labels meet all requirements.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, test)| {
            let value = labels.get(key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::Above(bound) => number().is_some_and(|number| number > *bound),
                Test::Below(bound) => number().is_some_and(|number| number < *bound),
            }
        })
    }
}

/// Whether an application with this selector is for a node with these labels. An empty or malformed
/// selector is for no node.
pub fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    !selector.trim().is_empty() && Selector::parse(selector).is_ok_and(|selector| selector.matches(labels))
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(part: &str) -> Option<(String, Test)> {
    if let Some(name) = part.strip_prefix('!') {
        return Some((key(name)?, Test::Absent));
    }
    if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')')?;
        let values: Vec<String> = values.split(',').map(value).collect::<Option<_>>()?;
        let (name, word) = part[..open].trim_end().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" => Some((key(name)?, Test::In(values))),
            "notin" => Some((key(name)?, Test::NotIn(values))),
            _ => None,
        };
    }
    if let Some((name, text)) = part.split_once("!=") {
        return Some((key(name)?, Test::NotIn(vec![value(text)?])));
    }
    if let Some((name, text)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some((key(name)?, Test::In(vec![value(text)?])));
    }
    if let Some((name, text)) = part.split_once('>') {
        return Some((key(name)?, Test::Above(text.trim().parse().ok()?)));
    }
    if let Some((name, text)) = part.split_once('<') {
        return Some((key(name)?, Test::Below(text.trim().parse().ok()?)));
    }
    Some((key(part)?, Test::Exists))
}

fn key(text: &str) -> Option<String> {
    let text = text.trim();
    label_key(text).then(|| text.to_owned())
}

fn value(text: &str) -> Option<String> {
    let text = text.trim();
    label_value(text).then(|| text.to_owned())
}

/// Whether a text may be the key of a label: an optional DNS prefix and `/`, then a name up to 63.
pub fn label_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|prefix| {
        (1..=253).contains(&prefix.len())
            && prefix
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
    });
    prefix_fits && !name.is_empty() && label_value(name)
}

/// Whether a text may be the value of a label: up to 63 letters, digits, `-`, `_`, `.`; or empty.
pub fn label_value(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Selector, selects};

    fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(selects(selector, &labels), expected, "{selector:?} on {labels:?}");
    }

    #[test]
    fn selectors_mean_what_kubernetes_means() {
        let test: &[(&str, &str)] = &[("env", "test"), ("gpu", "yes"), ("speed", "7")];
        check("env=test", test, true);
        check("env == test", test, true);
        check("env!=test", test, false);
        check("env!=test", &[], true);
        check("env in (prod, test)", test, true);
        check("env notin (prod,stage),gpu", test, true);
        check("env notin (prod)", &[], true);
        check("!gpu", test, false);
        check("gpu,!tpu", test, true);
        check("speed>5", test, true);
        check("speed<5", test, false);
        check("speed>5", &[("speed", "fast")], false);
        check("a/b=c", &[("a/b", "c")], true);
    }

    #[test]
    fn an_empty_or_malformed_selector_is_for_no_node() {
        check("", &[("a", "b")], false);
        check("  ", &[("a", "b")], false);
        check("a===(", &[("a", "b")], false);
        assert!(Selector::parse("a===(").is_err());
        assert!(Selector::parse("").is_ok_and(|selector| selector.matches(&BTreeMap::new())));
    }
}
