//! Namespaces and tokens.

use serde_json::Value;

use super::yes;
use crate::json_text::text;
use crate::presentation::output::table::Table;
use crate::presentation::output::{ResourcePrinter, time};

pub(crate) const NAMESPACE: ResourcePrinter =
    ResourcePrinter { name: |namespace| text(namespace, "/name"), table: namespaces };
pub(crate) const TOKEN: ResourcePrinter =
    ResourcePrinter { name: |token| text(token, "/id"), table: tokens };

fn namespaces(items: &[Value], _: bool, _: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "NEEDS-REASON"]);
    for namespace in items {
        table.row([text(namespace, "/name").into(), yes(&namespace["require_reason"]).into()]);
    }
    table
}

fn tokens(items: &[Value], _: bool, _: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["ID", "ACTOR", "GRANTS", "EXPIRES"]);
    for token in items {
        let expires = text(token, "/expires_at");
        let expires = if expires.is_empty() { "never".to_owned() } else { time::moment(&expires) };
        let id = text(token, "/id");
        table.row([id.into(), text(token, "/actor").into(), grants(token).into(), expires.into()]);
    }
    table
}

/// `ROLE` for all namespaces, `ROLE@NAMESPACE` for one.
fn grants(token: &Value) -> String {
    let grants = token["grants"].as_array().into_iter().flatten();
    let grant = |grant: &Value| match grant["namespace"].as_str() {
        Some(namespace) => format!("{}@{namespace}", text(grant, "/role")),
        None => text(grant, "/role"),
    };
    grants.map(grant).collect::<Vec<_>>().join(",")
}
