//! Resolves names to ids: flavors, images, networks and volume types may be given as either.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::client::{
    ApiError, CallClient, ErrorKind, NamePair, NamedResource, Pagination, Request,
};
use crate::nearest_name::nearest;
use crate::openstack::service::Service;

impl NamedResource {
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
    /// The id of the resource `text`, which may be an id already.
    ///
    /// # Errors
    /// `NoReference` with the most similar names, or if several resources have that name.
    pub(super) async fn resolve_id(
        self,
        resource: NamedResource,
        text: &str,
    ) -> Result<String, ApiError> {
        if is_uuid(text) {
            return Ok(text.to_owned());
        }
        let pairs = self.pairs(resource).await?;
        choose(resource, text, &pairs).map(str::to_owned)
    }

    /// Replaces a name by its id in the member `field`, if there is one.
    ///
    /// # Errors
    /// As for [`resolve_id`](Self::resolve_id).
    pub(super) async fn resolve_field(
        self,
        members: &mut Map<String, Value>,
        field: &str,
        resource: NamedResource,
    ) -> Result<(), ApiError> {
        if let Some(Value::String(text)) = members.get_mut(field) {
            *text = self.resolve_id(resource, text).await?;
        }
        Ok(())
    }

    /// The id of the resource `name`; `None` if it is not unique or not found. Up to a minute old.
    pub(super) async fn cached_id(
        self,
        resource: NamedResource,
        name: &str,
    ) -> Result<Option<String>, ApiError> {
        let recent = self.shared.name_cache.recent(resource, self.now());
        let pairs = if let Some(pairs) = recent {
            pairs
        } else {
            let pairs = Arc::new(self.pairs(resource).await?);
            self.shared.name_cache.keep(resource, &pairs, self.now());
            pairs
        };
        Ok(choose(resource, name, &pairs).ok().map(str::to_owned))
    }

    async fn pairs(self, resource: NamedResource) -> Result<Vec<NamePair>, ApiError> {
        let (request, rows, pagination) = resource.list();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = self.rows(request, rows, pagination).await?;
        Ok(rows.iter().map(|row| (text(row, "id"), text(row, "name"))).collect())
    }
}

fn choose<'a>(
    resource: NamedResource,
    wanted: &str,
    pairs: &'a [NamePair],
) -> Result<&'a str, ApiError> {
    if let Some((id, _)) = pairs.iter().find(|(id, _)| id == wanted) {
        return Ok(id);
    }
    let refused = |code, message| Err(ApiError::harmless(ErrorKind::NoReference, code, message));
    let named: Vec<_> = pairs.iter().filter(|(_, name)| name == wanted).collect();
    match named[..] {
        [(id, _)] => Ok(id),
        [] => {
            let near = nearest(wanted, pairs.iter().map(|(_, name)| name.as_str()));
            let hint = if near.is_empty() { String::new() } else { format!("; there is {near}") };
            let message = format!("there is no {} `{wanted}`{hint}", resource.text());
            refused("reference_not_found", message)
        }
        _ => {
            let message = format!(
                "{} {}s are called `{wanted}`: name one by id",
                named.len(),
                resource.text()
            );
            refused("ambiguous_name", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[(&str, &str)]) -> Vec<NamePair> {
        names.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn an_id_wins_over_a_name_and_two_names_over_none() {
        let pairs = pairs(&[("1", "m1.tiny"), ("2", "1"), ("3", "twin"), ("4", "twin")]);
        assert_eq!(choose(NamedResource::Flavor, "1", &pairs).unwrap(), "1");
        assert_eq!(choose(NamedResource::Flavor, "m1.tiny", &pairs).unwrap(), "1");
        let twin = choose(NamedResource::Flavor, "twin", &pairs).unwrap_err();
        assert_eq!(twin.code, "ambiguous_name");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let pairs =
            pairs(&[("1", "m1.tiny"), ("2", "m1.small"), ("3", "c4.huge"), ("4", "m1.tony")]);
        let wrong = choose(NamedResource::Flavor, "m1.tinny", &pairs).unwrap_err();
        assert_eq!(
            wrong.message,
            "there is no flavor `m1.tinny`; there is `m1.tiny`, `m1.tony`, `m1.small`"
        );
    }
}
