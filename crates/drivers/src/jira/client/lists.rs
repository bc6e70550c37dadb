//! Lists in pages, and a cache of those that rarely change: issue types, fields, statuses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::CallClient;
use super::request::Request;
use super::send::nonsense;
use crate::http::{ApiError, all_rows};
use crate::jira::site::Deployment;

/// Rows per page.
const PAGE_ROWS: usize = 100;
/// Cached lists are used for checks and names only; what they miss is read again.
const KEPT: Duration = Duration::from_mins(1);
/// Cached lists at most.
const LISTS_MAX: usize = 1_000;

/// A list, and the steady time at which it was read.
type Recent = (Duration, Arc<Vec<Value>>);

/// The cached lists, by path.
#[derive(Default)]
pub(super) struct ListCache(Mutex<HashMap<String, Recent>>);

impl CallClient<'_> {
    /// One page of issues that match `jql`, and the marker of the next; `None` = it was the last. The issues carry
    /// `fields` and the entity property `property`.
    pub(in crate::jira) async fn search_page(
        self,
        jql: &str,
        fields: &[&str],
        property: &str,
        marker: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let mut body = json!({
            "jql": jql, "fields": fields, "properties": [property], "maxResults": PAGE_ROWS,
        });
        let cloud = self.deployment() == Deployment::Cloud;
        let start: usize = marker.and_then(|marker| marker.parse().ok()).unwrap_or(0);
        let request = if cloud {
            if let Some(marker) = marker {
                body["nextPageToken"] = json!(marker);
            }
            Request::post(&["search", "jql"], body)
        } else {
            body["startAt"] = json!(start);
            Request::post(&["search"], body)
        };
        let reply = self.read(request.reading()).await?;
        let Some(rows) = reply["issues"].as_array() else {
            return Err(nonsense("a search has no `issues`", false));
        };
        let next = if cloud {
            let last = reply["isLast"] == json!(true);
            reply["nextPageToken"].as_str().filter(|_| !last).map(str::to_owned)
        } else {
            next_start(start, rows.len(), &reply)
        };
        Ok((rows.clone(), next.filter(|next| Some(next.as_str()) != marker)))
    }

    /// All issues that match `jql`.
    pub(in crate::jira) async fn search(
        self,
        jql: &str,
        fields: &[&str],
        property: &str,
    ) -> Result<Vec<Value>, ApiError> {
        let page = |marker: Option<String>| async move {
            self.search_page(jql, fields, property, marker.as_deref()).await
        };
        all_rows(page).await
    }

    /// One page of a list with `startAt`; `rows` are the names under which its rows may be; none =
    /// the reply is the list, or the only row.
    pub(in crate::jira) async fn page(
        self,
        request: Request,
        rows: &[&str],
        marker: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let start: usize = marker.and_then(|marker| marker.parse().ok()).unwrap_or(0);
        let request = request
            .query("startAt", &start.to_string())
            .query("maxResults", &PAGE_ROWS.to_string());
        let reply = self.read(request).await?;
        let found = match &reply {
            Value::Array(all) => return Ok((all.clone(), None)),
            // A single object.
            row if rows.is_empty() => return Ok((vec![row.clone()], None)),
            reply => rows.iter().find_map(|name| reply[*name].as_array()),
        };
        let found = found.ok_or_else(|| nonsense("a list has no rows", false))?;
        Ok((found.clone(), next_start(start, found.len(), &reply)))
    }

    /// All rows of a list with `startAt`.
    pub(in crate::jira) async fn rows(
        self,
        request: Request,
        rows: &[&str],
    ) -> Result<Vec<Value>, ApiError> {
        let page = |marker: Option<String>| {
            let request = request.clone();
            async move { self.page(request, rows, marker.as_deref()).await }
        };
        all_rows(page).await
    }

    /// All rows of a list as it was at most a minute ago.
    pub(in crate::jira) async fn cached_rows(
        self,
        request: Request,
        rows: &[&str],
    ) -> Result<Arc<Vec<Value>>, ApiError> {
        let key = format!("{} {:?}", request.path.join("/"), request.query);
        let recent = {
            let lists = self.shared.lists.0.lock().unwrap_or_else(PoisonError::into_inner);
            lists.get(&key).cloned()
        };
        if let Some((read, list)) = recent
            && self.now().saturating_sub(read) < KEPT
        {
            return Ok(list);
        }
        let list = Arc::new(self.rows(request, rows).await?);
        let mut lists = self.shared.lists.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= LISTS_MAX {
            lists.clear();
        }
        lists.insert(key, (self.now(), Arc::clone(&list)));
        Ok(list)
    }

    /// Forgets the cached lists: one of them lacks what a desired state names, which may be new.
    pub(in crate::jira) fn forget_lists(self) {
        self.shared.lists.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Where the page after one of `rows` rows at `start` begins; `None` = it was the last.
fn next_start(start: usize, rows: usize, reply: &Value) -> Option<String> {
    let end = start + rows;
    let last = reply["isLast"] == json!(true)
        || reply["total"].as_u64().is_some_and(|total| end as u64 >= total)
        || rows == 0;
    (!last).then(|| end.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_by_flag_by_total_or_by_an_empty_page() {
        for (start, rows, reply, next) in [
            (0, 50, json!({"isLast": false, "total": 70}), Some("50")),
            (50, 20, json!({"isLast": false, "total": 70}), None),
            (0, 50, json!({"isLast": true}), None),
            (0, 50, json!({}), Some("50")),
            (50, 0, json!({"total": 70}), None),
        ] {
            assert_eq!(next_start(start, rows, &reply).as_deref(), next, "{reply}");
        }
    }
}
