//! Tables of the processes that share a store.

use serde_json::Value;

use crate::json_text::text;
use crate::presentation::output::ResourcePrinter;
use crate::presentation::output::table::Table;

pub(crate) const NODE: ResourcePrinter =
    ResourcePrinter { name: |node| text(node, "/name"), table };

fn table(items: &[Value], wide: bool, _: jiff::Timestamp) -> Table {
    let columns = ["NAME", "ROLE", "VERSION", "OBSERVE-ONLY", "BACKENDS", "SEEN", "ID"];
    let mut table = Table::new(if wide { &columns } else { &columns[..6] });
    for node in items {
        let backends = node["backends"].as_object().map_or(0, serde_json::Map::len);
        let mut row = vec![
            text(node, "/name").into(),
            text(node, "/role").into(),
            text(node, "/version").into(),
            observe_only(node).into(),
            backends.to_string().into(),
            text(node, "/seen").into(),
        ];
        row.extend(wide.then(|| text(node, "/id").into()));
        table.row_of(row);
    }
    table
}

/// Whether the node changes nothing on any backend, or why it does not.
fn observe_only(node: &Value) -> &'static str {
    match (node["observe_only"] == true, node["observe_only_cause"].as_str()) {
        (false, _) => "no",
        (true, Some("argument")) => "--observe-only",
        (true, Some("restore_hold")) => "restore hold",
        (true, _) => "yes",
    }
}
