//! The way of an issue to its status: one transition at a time, straight or along a path, never by trying, because every
//! hop notifies people. Pure.

use serde_json::Value;

/// Hops of one change at most.
pub(super) const HOPS_MAX: usize = 20;

/// The transition to take from `current`, a status with `id` and `name`, towards `wanted` along `path`; `visited` are the
/// ids of the statuses that this change has left.
///
/// # Errors
/// Why there is no way, with what the workflow offers.
pub(super) fn next_hop<'a>(
    current: &Value,
    wanted: &str,
    path: &[String],
    transitions: &'a [Value],
    visited: &[String],
) -> Result<&'a Value, String> {
    let target = match path.iter().position(|step| is_status(current, step)) {
        Some(at) => path.get(at + 1).map_or(wanted, String::as_str),
        None => path.first().map_or(wanted, String::as_str),
    };
    let name = |status: &Value| status["name"].as_str().unwrap_or("?").to_owned();
    let offered = || {
        let ways = transitions.iter().map(|way| format!("`{}`", name(&way["to"])));
        let ways = ways.collect::<Vec<_>>().join(", ");
        if ways.is_empty() { "no status".to_owned() } else { ways }
    };
    let available = |way: &&Value| way["isAvailable"] != false && way["looped"] != true;
    let ways = transitions.iter().filter(|way| is_status(&way["to"], target));
    let Some(way) = ways.clone().find(available) else {
        let path = if path.is_empty() { ": name the statuses between in `statusPath`" } else { "" };
        return Err(format!(
            "no transition leads from `{}` to `{target}`; the workflow offers {}{path}",
            name(current),
            offered(),
        ));
    };
    let to = way["to"]["id"].as_str().unwrap_or_default();
    if visited.iter().any(|status| status == to) || visited.len() >= HOPS_MAX {
        let way = visited.join(" → ");
        return Err(format!("the way to `{wanted}` leads in a circle: statuses {way} → {to}"));
    }
    Ok(way)
}

/// Whether a status is called so, by id or name.
pub(super) fn is_status(status: &Value, called: &str) -> bool {
    status["id"] == *called
        || status["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(called))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn to(id: &str, name: &str) -> Value {
        json!({"id": format!("t{id}"), "name": format!("go {name}"), "to": {"id": id, "name": name}})
    }

    #[test]
    fn a_hop_leads_straight_or_along_the_path_and_never_in_circles() {
        let open = json!({"id": "1", "name": "Open"});
        let doing = json!({"id": "2", "name": "Doing"});
        let elsewhere = json!({"id": "9", "name": "Elsewhere"});
        let ways = [to("2", "Doing"), to("3", "Review"), to("1", "Open")];
        let path = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect::<Vec<_>>();
        for (current, wanted, steps, visited, expected) in [
            (&open, "Doing", &[][..], &[][..], Ok("t2")),
            (&open, "doing", &[], &[], Ok("t2")),
            (&open, "3", &[], &[], Ok("t3")),
            (&open, "Done", &["Doing", "Review"], &["1"], Ok("t2")),
            (&doing, "Done", &["Open", "Doing", "Review"], &["1", "2"], Ok("t3")),
            (&doing, "Review", &["Doing"], &["2"], Ok("t3")),
            (&elsewhere, "Done", &["Open", "Doing"], &[], Ok("t1")),
            (&open, "Done", &[], &[], Err("no transition leads from `Open` to `Done`")),
            (&doing, "Open", &[], &["1", "2"], Err("in a circle")),
        ] {
            let hop = next_hop(current, wanted, &path(steps), &ways, &path(visited));
            match (hop, expected) {
                (Ok(way), Ok(id)) => assert_eq!(way["id"], id, "{wanted} {steps:?}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (hop, _) => panic!("{wanted} {steps:?}: {hop:?}"),
            }
        }
    }

    #[test]
    fn a_transition_that_is_not_available_is_not_taken() {
        let mut closed = to("2", "Doing");
        closed["isAvailable"] = json!(false);
        let open = json!({"id": "1", "name": "Open"});
        assert!(next_hop(&open, "Doing", &[], &[closed], &[]).is_err());
        let many: Vec<_> = (0..HOPS_MAX).map(|hop| format!("s{hop}")).collect();
        assert!(next_hop(&open, "Doing", &[], &[to("2", "Doing")], &many).is_err());
    }
}
