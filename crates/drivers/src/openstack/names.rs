//! Names in place of ids: flavors, images, networks and volume types may be written either way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::client::{ApiError, CallClient, ErrorKind, Pagination, Request, Service};

/// Types and flavors change rarely, and an old list is only used to read with.
const KEPT: Duration = Duration::from_mins(1);
/// Names offered in place of a wrong one.
const OFFERED_MAX: usize = 3;

/// What may be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Noun {
    Flavor,
    Image,
    Network,
    VolumeType,
}

/// Id and name.
type Pair = (String, String);
/// A list, and when it was read.
type Recent = (Instant, Arc<Vec<Pair>>);

/// Lists that were read a moment ago; at most one of each noun.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<Noun, Recent>>);

impl Names {
    fn recent(&self, noun: Noun) -> Option<Arc<Vec<Pair>>> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, list) = lists.get(&noun)?;
        (read.elapsed() < KEPT).then(|| Arc::clone(list))
    }

    fn keep(&self, noun: Noun, list: &Arc<Vec<Pair>>) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(noun, (Instant::now(), Arc::clone(list)));
    }
}

impl Noun {
    const fn text(self) -> &'static str {
        match self {
            Self::Flavor => "flavor",
            Self::Image => "image",
            Self::Network => "network",
            Self::VolumeType => "volume type",
        }
    }

    fn list(self) -> (Request, &'static str, Pagination) {
        match self {
            Self::Flavor => {
                (Request::get(Service::Compute, &["flavors"]), "flavors", Pagination::Links)
            }
            Self::VolumeType => {
                (Request::get(Service::Volume, &["types"]), "volume_types", Pagination::None)
            }
            Self::Network => {
                let request = Request::get(Service::Network, &["networks"]);
                (
                    request.query("fields", "id").query("fields", "name"),
                    "networks",
                    Pagination::Links,
                )
            }
            Self::Image => {
                let request = Request::get(Service::Image, &["images"]);
                (request.query("status", "active"), "images", Pagination::Next)
            }
        }
    }
}

/// Whether `text` can only be an id.
pub(super) fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok()
}

impl CallClient<'_> {
    /// The id that `text` stands for, which may be one.
    ///
    /// # Errors
    /// `NoReference`, with the names that come closest, or when several have that name.
    pub(super) async fn id_of(self, noun: Noun, text: &str) -> Result<String, ApiError> {
        if is_uuid(text) {
            return Ok(text.to_owned());
        }
        let pairs = self.pairs(noun).await?;
        choose(noun, text, &pairs).map(str::to_owned)
    }

    /// Puts the id in the place of a name in the member `field`, if there is one.
    ///
    /// # Errors
    /// As for [`id_of`](Self::id_of).
    pub(super) async fn identify(
        self,
        members: &mut Map<String, Value>,
        field: &str,
        noun: Noun,
    ) -> Result<(), ApiError> {
        if let Some(Value::String(text)) = members.get_mut(field) {
            *text = self.id_of(noun, text).await?;
        }
        Ok(())
    }

    /// The id of what is called `name`; `None` when that is not certain. May be a minute old.
    pub(super) async fn id_named(self, noun: Noun, name: &str) -> Result<Option<String>, ApiError> {
        let recent = self.shared.names.recent(noun);
        let pairs = if let Some(pairs) = recent {
            pairs
        } else {
            let pairs = Arc::new(self.pairs(noun).await?);
            self.shared.names.keep(noun, &pairs);
            pairs
        };
        Ok(choose(noun, name, &pairs).ok().map(str::to_owned))
    }

    async fn pairs(self, noun: Noun) -> Result<Vec<Pair>, ApiError> {
        let (request, rows, pagination) = noun.list();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = self.rows(request, rows, pagination).await?;
        Ok(rows.iter().map(|row| (text(row, "id"), text(row, "name"))).collect())
    }
}

fn choose<'a>(noun: Noun, wanted: &str, pairs: &'a [Pair]) -> Result<&'a str, ApiError> {
    if let Some((id, _)) = pairs.iter().find(|(id, _)| id == wanted) {
        return Ok(id);
    }
    let refused = |code, message| Err(ApiError::harmless(ErrorKind::NoReference, code, message));
    let named: Vec<_> = pairs.iter().filter(|(_, name)| name == wanted).collect();
    match named[..] {
        [(id, _)] => Ok(id),
        [] => {
            let near = nearest(wanted, pairs);
            let hint = if near.is_empty() { String::new() } else { format!("; there is {near}") };
            let message = format!("there is no {} `{wanted}`{hint}", noun.text());
            refused("reference_not_found", message)
        }
        _ => {
            let message =
                format!("{} {}s are called `{wanted}`: name one by id", named.len(), noun.text());
            refused("ambiguous_name", message)
        }
    }
}

fn nearest(wanted: &str, pairs: &[Pair]) -> String {
    let mut names: Vec<_> =
        pairs.iter().map(|(_, name)| name.as_str()).filter(|name| !name.is_empty()).collect();
    names.sort_by_cached_key(|name| (distance(wanted, name), (*name).to_owned()));
    names.dedup();
    let names: Vec<_> = names.iter().take(OFFERED_MAX).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Edits between two texts (Levenshtein), without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[(&str, &str)]) -> Vec<Pair> {
        names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn an_id_wins_over_a_name_and_two_names_over_none() {
        let pairs = pairs(&[("1", "m1.tiny"), ("2", "1"), ("3", "twin"), ("4", "twin")]);
        assert_eq!(choose(Noun::Flavor, "1", &pairs).unwrap(), "1");
        assert_eq!(choose(Noun::Flavor, "m1.tiny", &pairs).unwrap(), "1");
        let twin = choose(Noun::Flavor, "twin", &pairs).unwrap_err();
        assert_eq!(twin.code, "ambiguous_name");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let pairs =
            pairs(&[("1", "m1.tiny"), ("2", "m1.small"), ("3", "c4.huge"), ("4", "m1.tony")]);
        let wrong = choose(Noun::Flavor, "m1.tinny", &pairs).unwrap_err();
        assert_eq!(
            wrong.message,
            "there is no flavor `m1.tinny`; there is `m1.tiny`, `m1.tony`, `m1.small`"
        );
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
