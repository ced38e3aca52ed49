//! The texts of the page. Pure; everything that is not ours is escaped.

use std::fmt::Write as _;

use crate::activate::Field;

/// Shown after the node was activated.
pub(super) const SUCCESS: &str = include_str!("success.html");
const ACTIVE: &str = include_str!("active.html");
const FAILED: &str = include_str!("failed.html");

/// The form. Attributes that have a value already are not asked for.
pub(super) fn form(attributes: &[Field], nodeinfo: &[Field], serial: &[Field]) -> String {
    let mut rows = String::new();
    for field in attributes {
        if field.value.is_empty() {
            row(&mut rows, field);
        } else {
            let (name, value) = (escape(&field.name), escape(&field.value));
            // Writing to a String cannot fail; so below.
            writeln!(rows, r#"<input type="hidden" name="{name}" value="{value}">"#).ok();
        }
    }
    for field in nodeinfo.iter().chain(serial) {
        row(&mut rows, field);
    }
    ACTIVE.replace("{{fields}}", &rows)
}

/// Shown after an activation failed; goes back to the form by itself.
pub(super) fn failed(reason: &str) -> String {
    FAILED.replace("{{reason}}", &escape(reason))
}

fn row(rows: &mut String, field: &Field) {
    let label = if field.label.is_empty() { &field.name } else { &field.label };
    let (name, label, value) = (escape(&field.name), escape(label), escape(&field.value));
    let description = escape(&field.description);
    writeln!(
        rows,
        r#"<label>{label}<input name="{name}" value="{value}"><small>{description}</small></label>"#
    )
    .ok();
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_escaped() {
        let field = |value: &str| Field {
            name: "\"><script>".to_owned(),
            label: "<b>".to_owned(),
            value: value.to_owned(),
            description: "'&".to_owned(),
        };
        for page in [form(&[field("")], &[field("<i>")], &[]), form(&[field("<i>")], &[], &[]), failed("<i>")]
        {
            assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains("<i>"), "{page}");
        }
    }

    #[test]
    fn an_attribute_with_a_value_is_not_asked_for() {
        let field = |value: &str| Field { name: "n".to_owned(), value: value.to_owned(), ..Field::default() };
        assert!(form(&[field("x")], &[], &[]).contains(r#"<input type="hidden" name="n" value="x">"#));
        assert!(form(&[field("")], &[], &[]).contains(r#"<label>n<input name="n" value="">"#));
    }
}
