//! Tables of the processes that share a store.

use serde_json::Value;

use crate::json_text::text;
use crate::presentation::output::ResourcePrinter;
use crate::presentation::output::table::Table;

pub(crate) const NODE: ResourcePrinter =
    ResourcePrinter { name: |node| text(node, "/name"), table };

fn table(items: &[Value], wide: bool, _: jiff::Timestamp) -> Table {
    let columns = ["NAME", "ROLE", "VERSION", "BACKENDS", "SEEN", "ID"];
    let mut table = Table::new(if wide { &columns } else { &columns[..5] });
    for node in items {
        let backends = node["backends"].as_object().map_or(0, serde_json::Map::len);
        let mut row = vec![
            text(node, "/name").into(),
            text(node, "/role").into(),
            text(node, "/version").into(),
            backends.to_string().into(),
            text(node, "/seen").into(),
        ];
        row.extend(wide.then(|| text(node, "/id").into()));
        table.row_of(row);
    }
    table
}
