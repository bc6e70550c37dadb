//! Tables without borders, like kubectl's. Nothing is cut: a terminal wraps long lines, and a pipe gets all of them.

use comfy_table::{Attribute, Color, ContentArrangement, presets};

use super::color::Tone;
use crate::json_text::single_line;

/// A field of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A field with a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    /// A state with its tone.
    pub(crate) fn state(state: &str) -> Self {
        Self::toned(state, Tone::of_state(state))
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// Rows below a header.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a row of dynamic length.
    pub(crate) fn row_of(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The text, a line for each row.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let header = self
            .header
            .iter()
            .map(|name| comfy_table::Cell::new(name).add_attribute(Attribute::Bold));
        table.set_header(header);
        for row in &self.rows {
            table.add_row(row.iter().map(cell));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt() + "\n"
    }
}

fn cell(cell: &Cell) -> comfy_table::Cell {
    let text = single_line(&cell.text);
    let text = if text.is_empty() { "-".to_owned() } else { text };
    let drawn = comfy_table::Cell::new(text);
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Good => drawn.fg(Color::DarkGreen),
        Tone::Busy => drawn.fg(Color::DarkYellow),
        Tone::Bad => drawn.fg(Color::DarkRed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "MESSAGE"]);
        table.row(["local.file/a".into(), Cell::state("ok"), "".into()]);
        table.row([
            "local.file/größer".into(),
            Cell::state("erred"),
            "two\nlines ".repeat(40).into(),
        ]);
        table
    }

    #[test]
    fn columns_line_up_and_nothing_is_cut() {
        let text = sample().render(false);
        assert!(!text.contains('\u{1b}'), "coloured: {text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].ends_with("two lines"), "{text}");
        let column =
            |line: &str, word: &str| line.find(word).map(|byte| line[..byte].chars().count());
        assert_eq!(column(lines[0], "STATE"), column(lines[2], "erred"));
        assert!(lines[1].ends_with('-'), "an empty field is a dash: {text}");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let strip = |text: String| anstream::adapter::strip_str(&text).to_string();
        let trimmed =
            |text: String| text.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
        let coloured = sample().render(true);
        assert!(coloured.contains("\u{1b}["));
        assert_eq!(trimmed(strip(coloured)), trimmed(sample().render(false)));
    }
}
