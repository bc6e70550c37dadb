//! Addresses of requests.

use reqwest::Url;

use super::error::{ApiError, ErrorKind};

/// The address below `endpoint`. Ids may come from users who adopt, so a segment is never assumed to be safe.
///
/// # Errors
/// `Invalid` for a segment that would lead to another path.
pub(crate) fn joined(
    endpoint: &Url,
    path: &[String],
    query: &[(String, String)],
) -> Result<Url, ApiError> {
    let bad = |segment: &String| matches!(segment.as_str(), "" | "." | "..");
    let control = |segment: &String| segment.chars().any(char::is_control);
    if path.iter().any(|segment| bad(segment) || control(segment)) {
        let message = "the name or id cannot be one of an object";
        return Err(ApiError::harmless(ErrorKind::Invalid, "bad_external_id", message));
    }
    let mut url = endpoint.clone();
    if let Ok(mut below) = url.path_segments_mut() {
        below.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}
