//! All rows of a list that comes in pages.

use serde_json::Value;

use super::error::{ApiError, ErrorKind};

/// Pages of one search at most; beyond that it fails, because an incomplete result must not look complete.
const PAGES_MAX: usize = 500;

/// All rows of a list: `page` reads the one at a marker (`None` = the first), and names the next.
///
/// # Errors
/// Those of `page`; `Transient` if the list has more than 500 pages.
pub(crate) async fn all_rows<F>(
    mut page: impl FnMut(Option<String>) -> F,
) -> Result<Vec<Value>, ApiError>
where
    F: Future<Output = Result<(Vec<Value>, Option<String>), ApiError>>,
{
    let mut all = Vec::new();
    let mut marker: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let (found, next) = page(marker).await?;
        all.extend(found);
        marker = next;
        if marker.is_none() {
            return Ok(all);
        }
    }
    let message = format!("more than {PAGES_MAX} pages match");
    Err(ApiError::harmless(ErrorKind::Transient, "too_many_rows", message))
}
