//! Manifests from files: YAML or JSON, one or many documents, single files or folders.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Stop;

const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];
/// Folders below a folder are read to this depth.
const DEPTH_MAX: usize = 8;

/// Bytes of standard input at most.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

/// A manifest, and the file that it came from.
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

/// All documents of all paths, in order; those that name no namespace are in `namespace`.
///
/// # Errors
/// A path that cannot be read, a file that is no YAML or JSON, a document that is no manifest, or two that name the
/// same entity: with the files' names, and before anything is done.
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
            return Err(Stop::usage(format!("{label} is declared {place}")));
        }
    }
    Ok(())
}

/// All documents of a file, or of the files of a folder in order of their names; `-` is standard input.
///
/// # Errors
/// A path that cannot be read, a file that is no YAML or JSON, or a document that is no manifest, with its name.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Document>> {
    if path == Path::new(STANDARD_INPUT) {
        let mut text = String::new();
        std::io::stdin()
            .take(INPUT_BYTES_MAX)
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return parsed(&text, "standard input");
    }
    let mut files = Vec::new();
    collect(path, 0, &mut files)?;
    let mut documents = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        documents.append(&mut parsed(&text, &name)?);
    }
    Ok(documents)
}

fn parsed(text: &str, file: &str) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Value::deserialize(document).with_context(|| format!("{file} is not valid"))?;
        let values = match value {
            Value::Null => Vec::new(),
            // What `get -o yaml` writes for several.
            Value::Object(mut list) if list.len() == 1 && list.contains_key("items") => {
                list.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default()
            }
            one => vec![one],
        };
        for value in values {
            let named = |member: &str| value[member].as_str().is_some_and(|text| !text.is_empty());
            anyhow::ensure!(
                named("kind") && named("name"),
                "{file} has a document that is no manifest: it needs kind and name"
            );
            documents.push(Document { value, file: file.to_owned() });
        }
    }
    Ok(documents)
}

fn collect(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    if std::fs::metadata(path).with_context(cannot)?.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).with_context(cannot)?;
    let mut below =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    below.sort();
    for path in below {
        let known = path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known));
        if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, files)?;
        } else if known {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["a: [", "name: x", "- 1", "{kind: k, name: 7}"] {
            let folder = folder(&[("bad.yaml", text)]);
            let error = all(&folder).expect_err("refused");
            assert!(format!("{error:#}").contains("bad.yaml"), "{error:#}");
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
