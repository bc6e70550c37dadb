//! The types whose JSON is in the rows of the read models, tied to the shapes of their tables.
//!
//! A row that an older fold wrote lacks what its events say of a new member, and later events do not put that right. So
//! whenever a member changes, `SHAPE` moves in `sqlite/views/tables.rs` and `postgres/views/tables.rs`, and each store
//! rebuilds its rows at the next start. `stored_fold.txt` has the members that the shapes stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stateward_domain::entity::operation::OperationRow;
use stateward_domain::ports::read_model::EntityRow;

use crate::shared::stored_row::StoredRow;
use crate::shared::views::index::{Column, Index};
use crate::shared::views::labels_and_counts::{CountChange, LabelRow};
use crate::{postgres, sqlite};

/// Set to `1`: write the file, after both shapes moved. Set to `same`: what is stored did not change, only its names in
/// the source.
const UPDATE: &str = "UPDATE_STORED_FOLD";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/stored_fold.txt");
const DOMAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../domain/src");
/// The types of the columns `data`.
const ROOTS: [&str; 2] = ["Entity", "OperationRow"];

/// Definitions of types by name, in one line each: members and what serde makes of them.
type Definitions = BTreeMap<String, BTreeSet<String>>;

fn collect(directory: &Path, into: &mut Definitions) {
    for entry in std::fs::read_dir(directory).expect("the domain's source") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            definitions(&std::fs::read_to_string(&path).expect("a source file"), into);
        }
    }
}

/// Adds the public structs and enums of a file.
fn definitions(source: &str, into: &mut Definitions) {
    let mut attributes = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let text = line.trim();
        if text.starts_with("#[") {
            attributes.push(text);
            continue;
        }
        let rest = text.strip_prefix("pub struct ").or_else(|| text.strip_prefix("pub enum "));
        let Some(rest) = rest else {
            if !text.starts_with("//") {
                attributes.clear();
            }
            continue;
        };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let end = format!("{}}}", &line[..line.len() - text.len()]);
        let mut definition: Vec<_> =
            attributes.drain(..).filter(|a| a.contains("serde(")).collect();
        definition.push(text);
        if !text.ends_with([';', '}']) {
            let body = lines.by_ref().take_while(|line| **line != end).map(str::trim);
            definition.extend(body.filter(|line| !line.starts_with("//") && !line.is_empty()));
        }
        // A macro's.
        if name.is_empty() {
            continue;
        }
        into.entry(name).or_default().insert(definition.join(" "));
    }
}

/// The words of a definition where a type stands: behind a colon, or within brackets. A variant may have a type's name.
fn types_in(definition: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut before = ' ';
    let mut start = 0;
    let mut words = Vec::new();
    for (at, c) in definition.char_indices().chain([(definition.len(), ' ')]) {
        if c.is_alphanumeric() || c == '_' {
            continue;
        }
        if start < at && (depth > 0 || before == ':') {
            words.push(&definition[start..at]);
        }
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            _ => {}
        }
        // The space behind a colon is part of it.
        before = if c == ' ' && start == at { before } else { c };
        start = at + c.len_utf8();
    }
    words.into_iter()
}

/// The definitions of `roots` and of all types that they name.
fn reachable(all: &Definitions, roots: &[&str]) -> BTreeSet<String> {
    let mut open: Vec<String> = roots.iter().map(ToString::to_string).collect();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        let Some(definitions) = all.get(&name).filter(|_| seen.insert(name)) else { continue };
        for definition in definitions {
            open.extend(
                types_in(definition).filter(|word| all.contains_key(*word)).map(str::to_owned),
            );
            found.insert(definition.clone());
        }
    }
    found
}

fn members() -> String {
    let mut all = Definitions::new();
    collect(Path::new(DOMAIN), &mut all);
    let rows = [
        ("entities", EntityRow::COLUMNS),
        ("operations", OperationRow::COLUMNS),
        ("labels", LabelRow::COLUMNS),
        ("counts", CountChange::COLUMNS),
    ];
    let rows = rows.map(|(table, columns)| format!("table {table}: {}\n", columns.join(", ")));
    let indexes = Index::ALL.map(|index| {
        let columns: Vec<_> = index.columns().map(Column::name).collect();
        format!("index {}: {}\n", index.name(), columns.join(", "))
    });
    let types: Vec<_> =
        reachable(&all, &ROOTS).into_iter().map(|definition| definition + "\n").collect();
    rows.concat() + &indexes.concat() + &types.concat()
}

#[test]
fn the_shapes_of_the_tables_move_with_the_members_of_what_is_stored() {
    let shapes = [sqlite::VIEWS_SHAPE, postgres::VIEWS_SHAPE];
    let (head, members) =
        (format!("shapes: sqlite {}, postgres {}\n", shapes[0], shapes[1]), members());
    let before = std::fs::read_to_string(FILE).unwrap_or_default();
    let (head_before, members_before) = before.split_once('\n').unwrap_or_default();
    let moved = || {
        let digits = |c: char| !c.is_ascii_digit();
        let numbers = head_before.split(digits).filter_map(|number| number.parse::<i64>().ok());
        numbers.zip(shapes).all(|(before, now)| now > before)
    };
    let update = std::env::var(UPDATE).unwrap_or_default();
    if update == "same" || (update == "1" && moved()) {
        return std::fs::write(FILE, head + &members).expect("written");
    }
    let first = members.lines().find(|line| !members_before.lines().any(|before| before == *line));
    assert!(
        members == members_before,
        "what the rows of the read models hold is not what {FILE} has, from: {first:?}. \
         Raise SHAPE in sqlite/views/tables.rs and postgres/views/tables.rs, then run this test with {UPDATE}=1"
    );
    assert_eq!(head_before, head.trim_end(), "run this test with {UPDATE}=1");
}

#[test]
fn a_new_member_is_seen_at_any_depth() {
    let source = |member: &str| {
        format!(
            "/// A row.\n#[serde(default)]\npub struct Entity {{\n    /// It.\n    pub part: Option<Part>,\n}}\n\
             pub struct Other {{\n    pub x: u64,\n}}\n\
             mod inner {{\n    pub enum Part {{\n        A {{ n: Number }},\n        Other,\n{member}    }}\n}}\npub struct Number(pub u64);\n"
        )
    };
    let found = |source: &str| {
        let mut all = Definitions::new();
        definitions(source, &mut all);
        reachable(&all, &["Entity"])
    };
    let before = found(&source(""));
    let expected = [
        "#[serde(default)] pub struct Entity { pub part: Option<Part>,",
        "pub enum Part { A { n: Number }, Other,",
        "pub struct Number(pub u64);",
    ];
    assert_eq!(before.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_ne!(found(&source("        B,\n")), before);
    assert_eq!(found(&(source("") + "pub struct Unused;\n")), before);
}
