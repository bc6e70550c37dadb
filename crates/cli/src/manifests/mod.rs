//! Manifests: YAML or JSON, one or many documents, from files, pipes, folders and standard input.
//!
//! `files` reads the texts of a path, `yaml` and `scalar` parse YAML; JSON is parsed by the rules of request bodies.
//! `apply`, `diff`, `delete` and `serve --apply` share this reader (ADR 18).

mod files;
pub(crate) mod scalar;
mod yaml;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stateward_api::json;

use crate::client::{NAMING, is_status};
use crate::exit::CliError;
use files::ManifestText;

/// Manifests that one path may have.
const DOCUMENTS_MAX: usize = 100_000;
/// Some editors write it at the beginning of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A manifest, and the file that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) file: String,
}

impl Document {
    /// `KIND/NAME`.
    pub(crate) fn label(&self) -> String {
        let text = |member: &str| self.value[member].as_str().unwrap_or_default();
        format!("{}/{}", text("kind"), text("name"))
    }

    fn namespace(&self) -> &str {
        self.value["namespace"].as_str().unwrap_or("default")
    }
}

/// All documents of all paths, in order; `namespace` is the default for those that name none.
///
/// # Errors
/// With the file's name, before anything is sent: a path that cannot be read, a text that is invalid or ambiguous, a
/// document that is no manifest, or two of the same entity.
pub(crate) fn read_all(paths: &[PathBuf], namespace: &str) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for path in paths {
        documents.append(&mut read(path)?);
    }
    for document in &mut documents {
        if let Some(members) = document.value.as_object_mut() {
            members.entry("namespace").or_insert_with(|| namespace.into());
        }
    }
    unique(&documents)?;
    Ok(documents)
}

fn unique(documents: &[Document]) -> anyhow::Result<()> {
    let mut seen = HashMap::new();
    for document in documents {
        let name = (document.namespace(), document.label());
        let label = document.label();
        if let Some(earlier) = seen.insert(name, &document.file) {
            let place = if *earlier == document.file {
                format!("twice in {earlier}")
            } else {
                format!("in {earlier} and in {}", document.file)
            };
            return Err(CliError::usage(format!("{label} is declared {place}")));
        }
    }
    Ok(())
}

/// All documents of a path, in order: of a file, a pipe, the files of a folder; `-` is standard input.
fn read(path: &Path) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for source in files::sources(path)? {
        for (line, value) in values(&source)? {
            for value in members(value).map_err(|why| no_manifest(&source, line, &why))? {
                check(&value).map_err(|why| no_manifest(&source, line, &why))?;
                documents.push(Document { value, file: source.name.clone() });
            }
        }
        if documents.len() > DOCUMENTS_MAX {
            let name = path.display();
            return Err(CliError::usage(format!(
                "{name} has more than {DOCUMENTS_MAX} manifests: name its parts"
            )));
        }
    }
    Ok(documents)
}

/// The documents of a text, each with its first line. JSON is parsed by the rules of request bodies; everything else is
/// YAML, unless the file is named `*.json`.
///
/// # Errors
/// A usage error: `FILE:LINE:COLUMN: what is wrong`.
fn values(source: &ManifestText) -> anyhow::Result<Vec<(usize, Value)>> {
    let at = |line: usize, column: usize, message: String| {
        CliError::usage(format!("{}:{line}:{column}: {message}", source.name))
    };
    let text = source.text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&source.text);
    match json::documents(text) {
        Ok(documents) => documents
            .iter()
            .map(|one| {
                Ok((one.line, one.value().map_err(|(line, column, why)| at(line, column, why))?))
            })
            .collect(),
        Err(error) if source.is_json => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Err(at(error.line(), error.column(), message))
        }
        Err(_) => {
            yaml::documents(text).map_err(|fault| at(fault.line, fault.column, fault.message))
        }
    }
}

/// The manifests of a document: itself, none if it is empty, or the items of a list (`get -o yaml`).
fn members(document: Value) -> Result<Vec<Value>, String> {
    match document {
        Value::Null => Ok(Vec::new()),
        Value::Object(mut list) if list.len() == 1 && list.contains_key("items") => {
            match list.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _ => Err("items is no list".to_owned()),
            }
        }
        one => Ok(vec![one]),
    }
}

/// Checks the members that identify the entity, and refuses members without a value: an author who left one empty did
/// not mean its default. The server checks the rest.
fn check(manifest: &Value) -> Result<(), String> {
    let Value::Object(members) = manifest else { return Err("it is no mapping".to_owned()) };
    for (name, value) in members {
        if value.is_null() && !is_status(name) {
            return Err(format!("{name} has no value: leave it out, or give it one"));
        }
    }
    for name in NAMING {
        match members.get(*name) {
            None if ["kind", "name"].contains(name) => return Err(format!("it has no {name}")),
            Some(Value::String(text)) if !text.is_empty() => {}
            None => {}
            Some(Value::String(_)) => {
                return Err(format!("{name} is empty: leave it out, or give it a value"));
            }
            Some(other) => return Err(format!("{name} is no text but {other}")),
        }
    }
    Ok(())
}

fn no_manifest(source: &ManifestText, line: usize, why: &str) -> anyhow::Error {
    CliError::usage(format!("{}:{line}: this document is no manifest: {why}", source.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::exit_of;
    use crate::exit::Exit;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        folder
    }

    fn all(folder: &tempfile::TempDir) -> anyhow::Result<Vec<Document>> {
        read_all(&[folder.path().to_owned()], "physics")
    }

    #[test]
    fn folders_give_their_files_in_order_and_files_all_their_documents() {
        let folder = folder(&[
            ("b.yaml", "{kind: k, name: b1}\n---\n{kind: k, name: b2, namespace: other}\n---\n"),
            ("sub/c.json", "{\"kind\": \"k\", \"name\": \"c\"}"),
            ("a.txt", "no manifest"),
            ("d.yaml", "items:\n- {kind: k, name: d1}\n- {kind: k, name: d2}\n"),
        ]);
        let documents = all(&folder).unwrap();
        let names: Vec<_> = documents.iter().map(Document::label).collect();
        assert_eq!(names, ["k/b1", "k/b2", "k/d1", "k/d2", "k/c"]);
        assert_eq!(documents[0].value["namespace"], "physics");
        assert_eq!(documents[1].value["namespace"], "other");
    }

    #[test]
    fn what_is_no_manifest_is_named() {
        let cases = [
            ("a: [", "bad.yaml:1:"),
            ("name: x", "bad.yaml:1: this document is no manifest: it has no kind"),
            ("- 1", "it is no mapping"),
            ("{kind: k, name: 7}", "name is no text but 7"),
            ("items:\n", "items is no list"),
            (
                "# x\nkind: k\nname: a\nnamespace:\n",
                "bad.yaml:2: this document is no manifest: namespace has no value",
            ),
            ("{kind: k, name: a, namespace: \"\"}", "namespace is empty"),
            ("{kind: k, name: a, backend: ~}", "backend has no value"),
            ("{kind: k, name: a, labels: null}", "labels has no value"),
            ("{\"kind\": \"k\", \"name\": \"a\", \"desired\": null}", "desired has no value"),
            ("{kind: k, name: a}\n---\nitems: [{kind: k, name: b, namespace: }]", "bad.yaml:3:"),
        ];
        for (text, part) in cases {
            let folder = folder(&[("bad.yaml", text)]);
            let error = all(&folder).expect_err(text);
            assert!(format!("{error:#}").contains(part), "{text}: {error:#}");
            assert_eq!(exit_of(&error), Exit::Usage);
        }
        let shown = "{kind: k, name: a, error: null, observed: null}";
        assert!(all(&folder(&[("shown.yaml", shown)])).is_ok(), "what only the server writes");
    }

    #[test]
    fn json_is_read_as_json() {
        let long = "k".repeat(2_000);
        let desired = format!(
            "{{\"{long}\": \"a\u{85}b\u{2028}\", \"emoji\": \"\\ud83d\\ude00\", \"tab\":\t1e3}}"
        );
        let one = |name: &str| {
            format!("{{\"kind\": \"k\", \"name\": \"{name}\", \"desired\": {desired}}}")
        };
        let text = format!("\u{feff}{}{}\n\n{}", one("a"), one("b"), one("c"));
        for name in ["x.json", "x.yaml"] {
            let documents = all(&folder(&[(name, &text)])).unwrap();
            let labels: Vec<_> = documents.iter().map(Document::label).collect();
            assert_eq!(labels, ["k/a", "k/b", "k/c"]);
            for document in documents {
                assert_eq!(document.value["desired"][&long], "a\u{85}b\u{2028}");
                assert_eq!(document.value["desired"]["emoji"], "\u{1f600}");
                assert_eq!(document.value["desired"]["tab"], 1000.0);
            }
        }
    }

    #[test]
    fn what_is_called_json_is_not_read_as_something_like_it() {
        let cases = [
            ("{\"kind\": \"k\", \"name\": \"a\",}", "x.json:1:27: "),
            ("{\"kind\": \"k\",\n \"kind\": \"l\"}", "x.json:2:"),
            ("{\"kind\": \"k\", \"name\": NaN}", "x.json:1:"),
            ("kind: k\nname: a\n", "x.json:1:1"),
            ("{\"kind\": \"k\", \"name\": \"\\ud800\"}", "x.json:1:30: "),
            (
                "{\"kind\": \"k\", \"name\": \"a\", \"desired\":\n{\"a\": 18446744073709551616}}",
                "x.json:2:7: an integer beyond 64 bits",
            ),
        ];
        for (text, part) in cases {
            let error = all(&folder(&[("x.json", text)])).expect_err(text);
            assert!(format!("{error:#}").contains(part), "{text}: {error:#}");
        }
        // Where the same text means something else in YAML, it is refused there too.
        for text in [
            "{\"kind\": \"k\", \"name\": \"a\", \"desired\": {\"a\": NaN}}",
            "{\"kind\": \"k\", \"kind\": \"l\"}",
        ] {
            assert!(all(&folder(&[("x.yaml", text)])).is_err(), "{text}");
        }
    }

    #[test]
    fn an_entity_that_is_declared_twice_is_refused() {
        let twice = "{kind: k, name: a}\n---\n{kind: k, name: a, namespace: physics}\n";
        let error = all(&folder(&[("a.yaml", twice)])).expect_err("refused");
        assert!(format!("{error:#}").contains("k/a is declared twice in"), "{error:#}");
        let elsewhere = "{kind: k, name: a}\n---\n{kind: k, name: a, namespace: other}\n";
        assert!(all(&folder(&[("a.yaml", elsewhere)])).is_ok());
    }
}
