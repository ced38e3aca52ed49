//! Files of resources: YAML documents (JSON is YAML too), each with a `kind`, a `name` and the fields of the
//! REST API. `data` of configurations and secrets may be a plain map of names to texts.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::args::{Kind, Output};
use crate::client::Client;
use crate::error::CtlError;
use crate::resource::{self, encode};

/// One resource of a file.
#[derive(Debug)]
pub(crate) struct Document {
    kind: Kind,
    name: String,
    body: Value,
}

/// `apply -f`: creates what is not there, updates what is.
pub(crate) async fn apply(client: &Client, file: &Path, format: Output) -> Result<(), CtlError> {
    for document in read(file)? {
        let outcome = put(client, &document).await?;
        resource::report(document.kind, &document.name, outcome, format)?;
    }
    Ok(())
}

/// `delete -f`: deletes the resources of a file, the last one first.
pub(crate) async fn delete(client: &Client, file: &Path, format: Output) -> Result<(), CtlError> {
    for document in read(file)?.into_iter().rev() {
        resource::delete(client, document.kind, &document.name, format).await?;
    }
    Ok(())
}

/// Creates or updates one resource, and tells which.
pub(crate) async fn put(client: &Client, document: &Document) -> Result<&'static str, CtlError> {
    let path = format!("{}/{}", document.kind.path(), encode(&document.name));
    let Some(old) = client.find(&path).await? else {
        client.post(document.kind.path(), &document.body).await?;
        return Ok("created");
    };
    let new = client.put(&path, &document.body).await?;
    Ok(if old.get("version").is_some() && old.get("version") == new.get("version") {
        "unchanged"
    } else {
        "updated"
    })
}

fn read(file: &Path) -> Result<Vec<Document>, CtlError> {
    let mut text = String::new();
    let result = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_string(&mut text))
    };
    result.map_err(|error| CtlError::Input(format!("{} cannot be read: {error}", file.display())))?;
    parse(&text).map_err(|reason| CtlError::Input(format!("{}: {reason}", file.display())))
}

/// Reads documents.
pub(crate) fn parse(text: &str) -> Result<Vec<Document>, String> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let words = error.to_string();
        words.strip_prefix("error: ").map_or(words.clone(), str::to_owned)
    })?;
    let mut documents = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match value {
            Value::Null => {}
            Value::Object(fields) => documents.push(document(fields, index + 1)?),
            _ => return Err(format!("document {} is not a map of fields", index + 1)),
        }
    }
    if documents.is_empty() {
        return Err("there is no resource in it: write kind, name and the fields of one".to_owned());
    }
    Ok(documents)
}

fn document(mut fields: Map<String, Value>, index: usize) -> Result<Document, String> {
    let kind = match fields.remove("kind") {
        Some(Value::String(word)) => Kind::of_word(&word).ok_or_else(|| {
            format!("document {index}: kind {word:?} is not known: write app, config, secret, node or batch")
        })?,
        _ => return Err(format!("document {index} has no kind: write app, config, secret, node or batch")),
    };
    let Some(name) = fields.get("name").and_then(Value::as_str).map(str::to_owned) else {
        return Err(format!("document {index} has no name"));
    };
    if kind == Kind::Config
        && let Some(Value::Object(files)) = fields.get("data")
    {
        let list: Vec<Value> =
            files.iter().map(|(key, value)| json!({"key": key, "value": entry(value)})).collect();
        fields.insert("data".to_owned(), Value::Array(list));
    }
    Ok(Document { kind, name, body: Value::Object(fields) })
}

/// One entry of a configuration: a text is a file, a map is taken as the API has it.
fn entry(value: &Value) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        Value::String(text) => json!({"type": "kv", "value": text}),
        other => json!({"type": "kv", "value": other.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_texts_becomes_the_entries_of_a_configuration() {
        let documents =
            parse("kind: config\nname: text\ndata:\n  a.txt: hello\n---\nkind: node\nname: n1\n").unwrap();
        assert_eq!(documents.len(), 2);
        let data = json!([{"key": "a.txt", "value": {"type": "kv", "value": "hello"}}]);
        assert_eq!(documents[0].body["data"], data);
        assert_eq!(documents[1].kind, Kind::Node);
    }

    #[test]
    fn a_bad_file_names_the_line_or_the_document() {
        let check = |text: &str, part: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error:?} has no {part:?}");
        };
        check("kind: app\nname: [x\n", "line");
        assert!(!parse("name: [x\n").unwrap_err().starts_with("error"), "the word is said once");
        check("kind: thing\nname: x1\n", "thing");
        check("name: x1\n", "no kind");
        check("kind: app\n", "no name");
        check("", "no resource");
    }
}
