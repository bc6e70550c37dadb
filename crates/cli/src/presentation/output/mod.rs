//! Output forms: table, wide table, JSON, YAML, names.

pub(crate) mod color;
pub(crate) mod table;
pub(crate) mod time;
mod yaml;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

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
pub(crate) struct ResourcePrinter {
    /// Its name, as other verbs take it.
    pub(crate) name: fn(&Value) -> String,
    /// Its table; `wide` = with more columns.
    pub(crate) table: fn(items: &[Value], wide: bool, now: jiff::Timestamp) -> Table,
}

impl ResourcePrinter {
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

/// Prints a list to standard output.
pub(crate) fn print_list(
    noun: &ResourcePrinter,
    items: &[Value],
    output: Output,
    now: jiff::Timestamp,
    color: bool,
) -> anyhow::Result<()> {
    let people = matches!(output.format, Format::Table | Format::Wide);
    if items.is_empty() && people {
        terminal::note("nothing found");
        return Ok(());
    }
    terminal::print(&noun.list(items, output.format, now, color))
}

/// Prints a single resource to standard output.
pub(crate) fn print_one(
    noun: &ResourcePrinter,
    item: &Value,
    output: Output,
    now: jiff::Timestamp,
    color: bool,
) -> anyhow::Result<()> {
    terminal::print(&noun.one(item, output.format, now, color))
}

/// Indented JSON.
pub(crate) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}
