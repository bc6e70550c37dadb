//! The two kinds: their declarations, and an enum of them.

use std::time::Duration;

use rustix::fs::FileType;
use serde_json::{Value, json};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::id::{ActionName, KindName};
use stateward_domain::kind::{ActionSpec, KindSpec, OnLost};

/// Action of `local.file`: computes the digest of the content on the disk.
pub(super) const CHECKSUM: &str = "checksum";

/// A kind of this driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

impl Kind {
    pub(super) fn of(name: &KindName) -> Option<Self> {
        [Self::File, Self::Directory].into_iter().find(|kind| kind.name() == name.as_str())
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::File => "local.file",
            Self::Directory => "local.directory",
        }
    }

    /// The kind's noun in messages.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
        }
    }

    pub(super) fn is(self, found: FileType) -> bool {
        match self {
            Self::File => found == FileType::RegularFile,
            Self::Directory => found == FileType::Directory,
        }
    }
}

/// The kinds of this driver.
#[must_use]
pub fn kinds() -> Vec<KindSpec> {
    let checksum = ActionSpec { name: CHECKSUM.into(), input: empty_input(), idempotent: true };
    let file = include_str!("file.schema.json");
    let directory = include_str!("directory.schema.json");
    vec![
        kind(
            Kind::File,
            "A file with this content below the backend's root.",
            file,
            vec![checksum],
        ),
        kind(Kind::Directory, "A directory below the backend's root.", directory, Vec::new()),
    ]
}

fn kind(kind: Kind, summary: &str, schema: &str, actions: Vec<ActionSpec>) -> KindSpec {
    KindSpec {
        name: kind.name().into(),
        summary: summary.to_owned(),
        schema: serde_json::from_str(schema).expect("the schema is part of the program"),
        schema_version: 1,
        immutable: vec!["/path".to_owned()],
        write_only: Vec::new(),
        identity: Some("/path".to_owned()),
        owner_key: false,
        copies_owner_key: false,
        actions,
        implicit: Vec::new(),
        // A file system shows a file at once; the time is for a write that another worker had already begun.
        settle: Duration::from_secs(1),
        retry_budget: 5,
        on_lost: OnLost::Recreate,
        drift_policy: DriftPolicy::default(),
        loses: None,
    }
}

fn empty_input() -> Value {
    json!({"type": "object", "additionalProperties": false})
}

/// Whether `name` is the action of files.
pub(super) fn is_checksum(name: &ActionName) -> bool {
    name.as_str() == CHECKSUM
}
