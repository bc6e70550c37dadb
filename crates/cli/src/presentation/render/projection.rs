//! Tables of read models.

use serde_json::Value;

use crate::json_text::text;
use crate::presentation::output::color::Tone;
use crate::presentation::output::table::{Cell, Table};
use crate::presentation::output::{ResourcePrinter, time};

pub(crate) const PROJECTION: ResourcePrinter =
    ResourcePrinter { name: |projection| text(projection, "/name"), table };

fn table(items: &[Value], _: bool, _: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "POSITION", "RECORDED", "SET-ASIDE", "STOPPED"]);
    for projection in items {
        let aside = projection["quarantined"].as_array().map_or(0, Vec::len);
        let tone = if aside == 0 { Tone::Plain } else { Tone::Bad };
        table.row([
            text(projection, "/name").into(),
            text(projection, "/position").into(),
            time::moment(&text(projection, "/recorded_at")).into(),
            Cell::toned(aside.to_string(), tone),
            Cell::toned(text(projection, "/stopped"), Tone::Bad),
        ]);
    }
    table
}
