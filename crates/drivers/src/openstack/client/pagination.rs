//! Pagination. The next page is requested by a marker, never by the link in the reply: behind a proxy such links lead
//! to another host, and would take the token there.

use serde_json::Value;

use super::CallClient;
use super::request::Request;
use crate::http::{ApiError, ErrorKind, all_rows};

/// Rows per page.
const PAGE_ROWS: usize = 200;
/// How the next page is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::openstack) enum Pagination {
    /// By the `id` of the last row; `<rows>_links` says whether there is more.
    Links,
    /// By the `id` of the last row; `next` says whether there is more.
    Next,
    /// By the `name` of the last row, in its wrapper.
    Names(&'static str),
    /// By offset.
    Offset,
    /// A single page.
    None,
}

impl CallClient<'_> {
    /// One page of `rows`, and the marker of the next; `None` = it was the last.
    pub(in crate::openstack) async fn page(
        self,
        request: Request,
        rows: &str,
        pagination: Pagination,
        marker: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let mut request = request;
        if pagination != Pagination::None {
            request = request.query("limit", &PAGE_ROWS.to_string());
        }
        if let Some(marker) = marker {
            let key = if pagination == Pagination::Offset { "offset" } else { "marker" };
            request = request.query(key, marker);
        }
        let reply = self.send(request).await?;
        let Some(found) = reply.body[rows].as_array() else {
            let message = format!("a list has no `{rows}`");
            return Err(ApiError::harmless(ErrorKind::Transient, "nonsense_reply", message));
        };
        let last = |pointer: &str| {
            let id = found.last().and_then(|row| row.pointer(pointer)).and_then(Value::as_str);
            id.map(str::to_owned)
        };
        let full = found.len() >= PAGE_ROWS;
        let next = match pagination {
            Pagination::None => None,
            Pagination::Links => {
                let links = reply.body[format!("{rows}_links")].as_array();
                let more =
                    links.is_some_and(|links| links.iter().any(|client| client["rel"] == "next"));
                last("/id").filter(|_| more)
            }
            Pagination::Next => last("/id").filter(|_| reply.body["next"].is_string()),
            Pagination::Names(wrapper) => last(&format!("/{wrapper}/name")).filter(|_| full),
            Pagination::Offset => {
                let before: usize = marker.and_then(|marker| marker.parse().ok()).unwrap_or(0);
                full.then(|| (before + found.len()).to_string())
            }
        };
        Ok((found.clone(), next.filter(|next| Some(next.as_str()) != marker)))
    }

    /// All rows of a list.
    pub(in crate::openstack) async fn rows(
        self,
        request: Request,
        rows: &str,
        pagination: Pagination,
    ) -> Result<Vec<Value>, ApiError> {
        let page = |marker: Option<String>| {
            let request = request.clone();
            async move { self.page(request, rows, pagination, marker.as_deref()).await }
        };
        all_rows(page).await
    }
}
