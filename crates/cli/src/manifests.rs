//! Manifests from files: YAML or JSON, one or many documents, single files or folders.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];
/// Folders below a folder are read to this depth.
const DEPTH_MAX: usize = 8;

/// All documents of a file, or of the files of a folder in order of their names.
///
/// # Errors
/// A path that cannot be read, or a file that is no YAML or JSON, with its name.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut files = Vec::new();
    collect(path, 0, &mut files)?;
    let mut documents = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        for document in serde_norway::Deserializer::from_str(&text) {
            let value = Value::deserialize(document)
                .with_context(|| format!("{} is not valid", file.display()))?;
            if !value.is_null() {
                documents.push(value);
            }
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

    #[test]
    fn folders_give_their_files_in_order_and_files_all_their_documents() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(folder.path().join("b.yaml"), "name: b1\n---\nname: b2\n").unwrap();
        std::fs::write(folder.path().join("sub/c.json"), "{\"name\": \"c\"}").unwrap();
        std::fs::write(folder.path().join("a.txt"), "no manifest").unwrap();
        let documents = read(folder.path()).unwrap();
        let names: Vec<_> = documents.iter().map(|d| d["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["b1", "b2", "c"]);
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad.yaml"), "a: [").unwrap();
        let error = read(folder.path()).expect_err("refused");
        assert!(format!("{error:#}").contains("bad.yaml"));
    }
}
