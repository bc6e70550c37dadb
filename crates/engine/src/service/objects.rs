//! Objects that a backend holds, managed or not, for adoption.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};

use serde_json::Value;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{BackendName, EntityId, ExternalId, Incarnation, KindName, OwnerKey};
use stateward_domain::ports::driver::{Object, ObjectRef, Observation};
use stateward_domain::ports::read_model::EntityFilter;

use super::Engine;
use crate::backends::Backend;
use crate::error::{AdmissionError, QueryError};

/// Entities read per page.
const PAGE: usize = 1_000;
/// Maximum pages of entities.
const PAGES: usize = 1_000;
/// Maximum observations of one page.
const OBSERVATIONS: usize = 1_000;
/// Maximum length of a cursor that is passed to a backend.
const CURSOR_MAX: usize = 1_024;

/// An object on a backend, and whether it is managed.
pub struct BackendObject {
    /// The object.
    pub object: Object,
    /// Whether an entity, or another installation, manages it.
    pub managed: bool,
    /// Why it could not be observed; then its attributes are `Null`. `None` = its attributes are complete.
    pub unobserved: Option<String>,
}

impl BackendObject {
    /// A listed object after its observation; `None` = it is gone. One that cannot be observed takes no other along.
    fn observed_as(self, observed: Result<Observation, Failure>) -> Option<Self> {
        match observed {
            Ok(Observation::Present(object)) => Some(Self { object, ..self }),
            Ok(Observation::Absent { .. }) => None,
            Ok(Observation::Unknown { reason }) => Some(self.unobserved(&reason)),
            Err(failure) => Some(self.unobserved(&failure.to_string())),
        }
    }

    fn unobserved(mut self, why: &str) -> Self {
        self.object.attributes = Value::Null;
        Self { unobserved: Some(why.to_owned()), ..self }
    }
}

/// One page of a backend's objects.
pub struct ObjectPage {
    /// Objects of the kind.
    pub objects: Vec<BackendObject>,
    /// Cursor of the next page; `None` = this is the last one.
    pub next: Option<String>,
}

impl Engine {
    /// One page of the objects of a kind, as the backend lists them. An object with another installation's owner key
    /// counts as managed.
    ///
    /// # Errors
    /// [`AdmissionError::UnknownBackend`], [`AdmissionError::UnknownKind`], [`QueryError::BadPageToken`];
    /// [`QueryError::Store`] with the backend's answer, or because the backend is unavailable now.
    pub async fn list_objects(
        &self,
        name: &BackendName,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<ObjectPage, AdmissionError> {
        let backend = self.backend(name)?;
        if backend.kind(kind).is_none() {
            return Err(AdmissionError::UnknownKind(kind.clone()));
        }
        if cursor.is_some_and(|cursor| cursor.len() > CURSOR_MAX) {
            return Err(QueryError::BadPageToken.into());
        }
        let now = self.clock().moment();
        if backend.availability.unavailable(now).is_some()
            || backend.availability.kind_throttled_for(kind, now).is_some()
        {
            return Err(QueryError::Unavailable(format!("nothing is asked of {name} now")).into());
        }
        if self.membership().rate(&backend) == Some(0) {
            let elsewhere =
                format!("this node has no share of the rate of {name}: ask another one");
            return Err(QueryError::Unavailable(elsewhere).into());
        }
        backend.wait_for_rate_limit().await;
        let context = self.inner.shared.backend_call_context(&backend);
        let listing = backend.settings.driver.list(&context, kind, cursor).await;
        // A failed request of a caller does not affect the backend's availability: the cursor is the caller's.
        let listing = listing.map_err(|failure| match failure.class {
            ErrorClass::Invalid | ErrorClass::NotFound if cursor.is_some() => {
                QueryError::BadPageToken
            }
            _ => QueryError::Unavailable(failure.to_string()),
        })?;
        let known = self.managed_ids(name, kind).await?;
        let mut objects = Vec::with_capacity(listing.objects.len());
        for object in listing.objects {
            let named = known.contains(&object.external_id);
            let managed = named || self.is_owned(object.owner_key.as_ref()).await?;
            objects.push(BackendObject { object, managed, unobserved: None });
        }
        if listing.partial {
            objects = self.completed(&backend, kind, objects).await;
        }
        Ok(ObjectPage { objects, next: listing.cursor })
    }

    /// The objects with all their attributes: what is adopted by them has to be what the first observation shows.
    /// Managed ones are not adopted and stay as they are; those that are gone meanwhile are left out, and those that
    /// cannot be observed say why.
    async fn completed(
        &self,
        backend: &Backend,
        kind: &KindName,
        objects: Vec<BackendObject>,
    ) -> Vec<BackendObject> {
        let mut observations = 0;
        let observed = objects.into_iter().map(|listed| {
            observations += usize::from(!listed.managed);
            (listed, observations <= OBSERVATIONS)
        });
        let observed = observed.map(|(listed, within)| async move {
            if listed.managed {
                return Some(listed);
            }
            if !within {
                return Some(listed.unobserved("the page has too many objects to observe each"));
            }
            backend.wait_for_rate_limit().await;
            let context = self.inner.shared.backend_call_context(backend);
            // No entity has it yet, so there is no key to look for.
            let owner_key = OwnerKey::new(EntityId::default(), Incarnation::default());
            let external_id = listed.object.external_id.clone();
            let target = ObjectRef { kind: kind.clone(), external_id, owner_key };
            let observed = backend.settings.driver.observe(&context, &target).await;
            listed.observed_as(observed)
        });
        let observed = stream::iter(observed).buffered(backend.settings.concurrency.max(1));
        observed.filter_map(std::future::ready).collect().await
    }

    /// Whether an owner key protects an object from adoption. The key of an entity of this log does not, once that
    /// entity is deleted and has nothing left to clean up.
    async fn is_owned(&self, key: Option<&OwnerKey>) -> Result<bool, QueryError> {
        let Some(key) = key else { return Ok(false) };
        let Some((owner, _)) = key.parse() else { return Ok(true) };
        match self.entities().fresh(owner).await {
            Ok(owner) => Ok(!owner.exists() || owner.is_tracked()),
            Err(QueryError::Unreadable(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// External ids that the entities of a kind have.
    async fn managed_ids(
        &self,
        backend: &BackendName,
        kind: &KindName,
    ) -> Result<BTreeSet<ExternalId>, QueryError> {
        let filter = EntityFilter {
            backend: Some(backend.clone()),
            kind: Some(kind.clone()),
            ..EntityFilter::default()
        };
        let (mut known, mut token) = (BTreeSet::new(), None);
        for _ in 0..PAGES {
            let page = self.views().entities(&filter, PAGE, token.as_deref()).await?;
            known.extend(page.items.into_iter().filter_map(|row| row.entity.observed.external_id));
            token = page.next;
            if token.is_none() {
                return Ok(known);
            }
        }
        Err(QueryError::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_that_cannot_be_observed_says_why_and_one_that_is_gone_is_left_out() {
        let object = |size: u64| Object {
            external_id: ExternalId::from("x"),
            attributes: json!({ "size": size }),
            owner_key: None,
        };
        let observed = |observed| {
            let listed = BackendObject { object: object(1), managed: false, unobserved: None };
            listed.observed_as(observed).map(|it| (it.object.attributes, it.unobserved))
        };
        let failed = Failure::harmless(ErrorClass::Transient, "on_purpose", "on purpose");
        let message = failed.to_string();
        let unknown = Observation::Unknown { reason: "403".to_owned() };
        let gone = Observation::Absent { proof: "404".to_owned() };
        assert_eq!(observed(Ok(Observation::Present(object(2)))), Some((json!({"size": 2}), None)));
        assert_eq!(observed(Ok(gone)), None);
        assert_eq!(observed(Ok(unknown)), Some((Value::Null, Some("403".to_owned()))));
        assert_eq!(observed(Err(failed)), Some((Value::Null, Some(message))));
    }
}
