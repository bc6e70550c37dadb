//! Output forms: table, wide table, JSON, YAML, names.

pub(crate) mod color;
pub(crate) mod table;
pub(crate) mod time;
mod yaml;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::context::Session;
use crate::presentation::terminal;
use table::Table;
pub(crate) use yaml::yaml;

/// The form of the output.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Form of the output
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table, value_name = "FORM", global = true)]
    pub(crate) format: Format,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// With more columns
    Wide,
    /// For programs: {"items": […]}, or the single thing
    Json,
    /// The same in YAML
    Yaml,
    /// Names alone, one a line
    Name,
}

/// How one type of resource is printed.
pub(crate) struct Noun {
    /// Its name, as other verbs take it.
    pub(crate) name: fn(&Value) -> String,
    /// Its table; `wide` = with more columns.
    pub(crate) table: fn(items: &[Value], wide: bool, now: jiff::Timestamp) -> Table,
}

impl Noun {
    /// A list in a form.
    pub(crate) fn list(
        &self,
        items: &[Value],
        format: Format,
        now: jiff::Timestamp,
        color: bool,
    ) -> String {
        self.rendered(items, format, now, color, || json!({ "items": items }))
    }

    /// A single resource in a form.
    pub(crate) fn one(
        &self,
        item: &Value,
        format: Format,
        now: jiff::Timestamp,
        color: bool,
    ) -> String {
        self.rendered(std::slice::from_ref(item), format, now, color, || item.clone())
    }

    fn rendered(
        &self,
        items: &[Value],
        format: Format,
        now: jiff::Timestamp,
        color: bool,
        document: impl Fn() -> Value,
    ) -> String {
        match format {
            Format::Table | Format::Wide => {
                (self.table)(items, format == Format::Wide, now).render(color)
            }
            Format::Json => json(&document()),
            Format::Yaml => yaml(&document()),
            Format::Name => items.iter().map(|item| (self.name)(item) + "\n").collect(),
        }
    }
}

impl Session {
    /// Prints a list.
    pub(crate) fn list(&self, noun: &Noun, items: &[Value], output: Output) -> anyhow::Result<()> {
        let people = matches!(output.format, Format::Table | Format::Wide);
        if items.is_empty() && people {
            terminal::note("nothing found");
            return Ok(());
        }
        terminal::say(&noun.list(items, output.format, self.now, self.color))
    }

    /// Prints a single resource.
    pub(crate) fn one(&self, noun: &Noun, item: &Value, output: Output) -> anyhow::Result<()> {
        terminal::say(&noun.one(item, output.format, self.now, self.color))
    }
}

/// A text in one line, without control characters: texts of backends could contain terminal escapes.
pub(crate) fn flat(text: &str) -> String {
    let printable = text.replace(|c: char| c.is_control() && !c.is_whitespace(), "");
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Indented JSON.
pub(crate) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The member at `pointer` as text; empty when it is absent or null.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
