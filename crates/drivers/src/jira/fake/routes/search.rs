//! `/search`, `/search/jql`, `/search/approximate-count` and `/issue/bulkfetch`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::jira::fake::call::{Answer, Call, Problem, Reply};
use crate::jira::fake::jql::evaluate::{self, Resolver};
use crate::jira::fake::jql::parse;
use crate::jira::fake::render::Render;
use crate::jira::fake::render_issue::{Selection, reading, writing};
use crate::jira::fake::rows::Issue;
use crate::jira::fake::world::{View, World};

/// Issues of a page at most, with fields and without.
const PAGE_MAX: usize = 100;
const ID_PAGE_MAX: usize = 5_000;
/// Issues that one `bulkfetch` may name.
const FETCH_MAX: usize = 100;
/// Issues that `reconcileIssues` may name.
const RECONCILED_MAX: usize = 50;

/// The search index: what was written before the lag.
fn index<'a>(world: &'a World, call: &Call) -> View<'a> {
    let at = call.now.checked_sub(world.options.search_lag).unwrap_or(call.now);
    world.view(at, call.user.is_none())
}

struct Found<'a> {
    issues: Vec<&'a Issue>,
    warnings: Vec<String>,
    is_bounded: bool,
}

/// The issues that match, and are not archived. `fresh` are the ids that are read past the index.
fn find<'a>(
    world: &'a World,
    call: &Call,
    jql: &str,
    is_lenient: bool,
    fresh: &[u64],
) -> Result<Found<'a>, Problem> {
    let query = parse::query(jql).map_err(|message| Problem::message(400, &message))?;
    let now = writing(world, call);
    let is_bounded = query.clause.is_some();
    if call.user.is_none() {
        return Ok(Found { issues: Vec::new(), warnings: Vec::new(), is_bounded });
    }
    let resolved = Resolver { now, call }.resolve(query, is_lenient);
    let resolved = resolved.map_err(|message| Problem::message(400, &message))?;
    let clause = resolved.query.clause.as_ref();
    let is_match = |issue: &&Issue| {
        !issue.archived && clause.is_none_or(|clause| evaluate::matches(clause, issue))
    };
    let indexed = index(world, call).issues().filter(|issue| !fresh.contains(&issue.id));
    let reconciled = fresh.iter().filter_map(|id| now.issue(&id.to_string()));
    let mut issues: Vec<_> = indexed.chain(reconciled).filter(is_match).collect();
    evaluate::sort(&mut issues, &resolved.query.order);
    Ok(Found { issues, warnings: resolved.warnings, is_bounded })
}

/// A parameter of a search, from the body of a POST or the query of a GET.
fn given(call: &Call, body: &Value, name: &str) -> Option<String> {
    match &body[name] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => call.param(name).map(str::to_owned),
    }
}

fn body_of(call: &Call) -> Result<Value, Problem> {
    if call.method == hyper::Method::POST { call.json() } else { Ok(Value::Null) }
}

fn number(call: &Call, body: &Value, name: &str, default: usize) -> Result<usize, Problem> {
    let Some(text) = given(call, body, name) else { return Ok(default) };
    text.parse().map_err(|_| Problem::message(400, &format!("'{text}' is no valid {name}.")))
}

fn selection(call: &Call, body: &Value, default: &str) -> Selection {
    match body {
        Value::Null => Selection::of_query(call, default),
        body => Selection::of_body(body, default),
    }
}

/// `/search/jql`: pages by token, without a total; ids alone unless fields are named.
pub(crate) fn by_token(world: &World, call: &Call) -> Answer {
    let body = body_of(call)?;
    let jql = given(call, &body, "jql").unwrap_or_default();
    let fresh: Vec<u64> = match &body["reconcileIssues"] {
        Value::Array(ids) => ids.iter().filter_map(Value::as_u64).collect(),
        _ => call.params("reconcileIssues").iter().filter_map(|id| id.parse().ok()).collect(),
    };
    if fresh.len() > RECONCILED_MAX {
        return Err(Problem::message(400, "At most 50 issues can be reconciled."));
    }
    let found = find(world, call, &jql, false, &fresh)?;
    if !found.is_bounded {
        let text = "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.";
        return Err(Problem::message(400, text));
    }
    let selection = selection(call, &body, "id");
    let largest = if selection.is_of_ids() { ID_PAGE_MAX } else { PAGE_MAX };
    let size = number(call, &body, "maxResults", 50)?.min(largest);
    let start = match given(call, &body, "nextPageToken") {
        Some(token) => offset(&token, &jql).ok_or_else(|| {
            Problem::message(400, "The provided next page token is invalid or expired.")
        })?,
        None => 0,
    };
    let view = index(world, call);
    let shown = |issue: &&Issue| {
        let view = if fresh.contains(&issue.id) { writing(world, call) } else { view };
        Render { view, call }.issue(issue, &selection)
    };
    let issues: Vec<_> = found.issues.iter().skip(start).take(size).map(shown).collect();
    let end = start + issues.len();
    let is_last = end >= found.issues.len();
    let mut out = json!({"issues": issues, "isLast": is_last});
    if !is_last {
        out["nextPageToken"] = json!(token(end, &jql));
    }
    Ok(Reply::ok(out))
}

fn digest(jql: &str) -> String {
    Sha256::digest(jql).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn token(offset: usize, jql: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{offset}:{}", digest(jql)))
}

/// The offset in a token of the same query.
fn offset(token: &str, jql: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (offset, of) = text.split_once(':')?;
    (of == digest(jql)).then(|| offset.parse().ok()).flatten()
}

/// `/search` of Data Center: pages by offset, with a total. Cloud has removed it.
pub(crate) fn by_offset(world: &World, call: &Call) -> Answer {
    if call.is_cloud {
        let text = format!(
            "The requested API has been removed. Please migrate to the /rest/api/{}/search/jql API.",
            call.api
        );
        return Err(Problem::message(410, &text));
    }
    let body = body_of(call)?;
    let jql = given(call, &body, "jql").unwrap_or_default();
    let validation = given(call, &body, "validateQuery");
    let is_lenient = matches!(validation.as_deref(), Some("warn" | "none" | "false"));
    let found = find(world, call, &jql, is_lenient, &[])?;
    let selection = selection(call, &body, "*navigable");
    let (start, size) =
        (number(call, &body, "startAt", 0)?, number(call, &body, "maxResults", 50)?);
    let size = size.min(1_000);
    let view = index(world, call);
    let page = found.issues.iter().skip(start).take(size);
    let issues: Vec<_> = page.map(|issue| Render { view, call }.issue(issue, &selection)).collect();
    let mut out = json!({
        "expand": "schema,names", "startAt": start, "maxResults": size, "total": found.issues.len(), "issues": issues,
    });
    if !found.warnings.is_empty() {
        out["warningMessages"] = json!(found.warnings);
    }
    Ok(Reply::ok(out))
}

/// `/search/approximate-count`.
pub(crate) fn count(world: &World, call: &Call) -> Answer {
    let body = call.json()?;
    let found = find(world, call, body["jql"].as_str().unwrap_or_default(), false, &[])?;
    Ok(Reply::ok(json!({"count": found.issues.len()})))
}

/// `/issue/bulkfetch`: ordered by id; what cannot be seen is an error of its own.
pub(crate) fn fetch(world: &World, call: &Call) -> Answer {
    let body = call.json()?;
    let names: Vec<&str> =
        body["issueIdsOrKeys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() || names.len() > FETCH_MAX {
        let text = "The number of issues must be between 1 and 100.";
        return Err(Problem::message(400, text));
    }
    let view = reading(world, call);
    let mut issues: Vec<&Issue> = names.iter().filter_map(|name| view.issue(name)).collect();
    issues.sort_by_key(|issue| issue.id);
    issues.dedup_by_key(|issue| issue.id);
    let missing = names.iter().filter(|name| view.issue(name).is_none());
    let errors: Vec<_> = missing
        .map(|name| {
            let text = "Issue does not exist or you do not have permission to see it.";
            json!({"id": name, "errorMessage": text})
        })
        .collect();
    let selection = Selection::of_body(&body, "*navigable");
    let render = Render { view, call };
    let issues: Vec<_> = issues.into_iter().map(|issue| render.issue(issue, &selection)).collect();
    Ok(Reply::ok(json!({"issues": issues, "issueErrors": errors})))
}
