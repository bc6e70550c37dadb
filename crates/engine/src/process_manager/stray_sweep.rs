//! The sweep: lists objects that carry an owner key of this installation and match no living entity. It is the last
//! resort against late workers: objects of a known entity become clean-up work, the others are counted and logged.
//!
//! **Invariant:** an object that may hold a copy of the key is never cleaned up. A copy is made of an object that exists, so
//! where a backend copies keys, only an entity none of whose objects was ever observed has certain strays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::state::Presence;
use stateward_domain::envelope::Envelope;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, ExternalId, Incarnation, KindName};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::cluster::Duty;
use stateward_domain::ports::driver::{CallContext, Object};
use stateward_domain::time::Timestamp;
use tracing::Instrument;

use crate::backends::Backend;
use crate::process_manager::Shared;

/// Maximum pages of one list; the next sweep starts from the beginning.
const PAGES_MAX: usize = 10_000;
/// Between two attempts to list a kind that the backend refuses.
const REFUSED_RETRY: Duration = Duration::from_hours(1);

/// What the sweeps of one configuration of a backend found so far, by kind.
#[derive(Default)]
struct Sweeps {
    /// Objects that belong to no entity here, or carry a copied key. A kind that could not be listed keeps its last count.
    unknown: BTreeMap<KindName, u64>,
    /// Kinds that the credentials may not list, and when that was found: permissions change without a new configuration.
    refused: BTreeMap<KindName, Duration>,
}

impl Sweeps {
    /// The kinds to sweep at `now`: an object of another kind carries no owner key.
    fn kinds(&self, specs: &[KindSpec], now: Duration) -> Vec<KindName> {
        let kinds = specs.iter().filter(|spec| spec.owner_key).map(|spec| &spec.name);
        let waits = |since: &Duration| now.saturating_sub(*since) < REFUSED_RETRY;
        kinds.filter(|kind| !self.refused.get(kind).is_some_and(waits)).cloned().collect()
    }

    /// Notes the end of a kind's sweep at `now`; returns a failure that concerns the backend.
    fn note(
        &mut self,
        kind: KindName,
        swept: Result<u64, Failure>,
        now: Duration,
    ) -> Option<Failure> {
        match swept {
            Ok(count) => {
                if self.refused.remove(&kind).is_some() {
                    tracing::info!(%kind, "is swept again");
                }
                self.unknown.insert(kind, count);
                None
            }
            Err(failure) if failure.class == ErrorClass::Refused => {
                if !self.refused.contains_key(&kind) {
                    tracing::info!(%kind, %failure, "is not swept: tried again each hour");
                }
                self.refused.insert(kind, now);
                None
            }
            Err(failure) => {
                tracing::warn!(%kind, %failure, "sweep broke off");
                Some(failure)
            }
        }
    }
}

/// Sweeps at the shared interval; the first sweep is one interval after the start.
pub(super) async fn run(shared: Arc<Shared>, backend: Arc<Backend>) {
    let mut sweeps = Sweeps::default();
    loop {
        tokio::select! {
            () = tokio::time::sleep(shared.clock.jittered(shared.sweep_interval)) => {}
            () = shared.stopping(&backend) => {
                shared.membership.give_up(&Duty::Sweep(backend.name().clone()));
                shared.membership.give_up(&Duty::SeedTimers(backend.name().clone()));
                return;
            }
        }
        let duty = Duty::Sweep(backend.name().clone());
        if backend.availability.unavailable(shared.clock.moment()).is_some()
            || !shared.membership.works_on(&backend)
        {
            // Another member may reach it.
            shared.membership.give_up(&duty);
            continue;
        }
        if !shared.membership.holds(&duty).await {
            backend.unknown_objects.store(0, Ordering::Relaxed);
            continue;
        }
        for kind in sweeps.kinds(backend.settings.driver.kinds(), shared.clock.elapsed()) {
            let span = tracing::info_span!("sweep", backend = %backend.name());
            let swept = sweep(&shared, &backend, &kind).instrument(span.clone()).await;
            let failure = span.in_scope(|| sweeps.note(kind, swept, shared.clock.elapsed()));
            if let Some(failure) = failure {
                shared.record_failure(&backend, &failure).await;
            }
        }
        backend.unknown_objects.store(sweeps.unknown.values().sum(), Ordering::Relaxed);
    }
}

/// Counts objects that belong to no entity here, and records strays.
async fn sweep(shared: &Shared, backend: &Backend, kind: &KindName) -> Result<u64, Failure> {
    let mut unknown = 0;
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let context: CallContext = shared.backend_call_context(backend);
        backend.wait_for_rate_limit().await;
        let listed_at = shared.clock.now();
        let listing = backend.settings.driver.list(&context, kind, cursor.as_deref()).await?;
        // Classify all objects before the first stray is recorded: one owner may have left several.
        let mut strays = Vec::new();
        for object in &listing.objects {
            match classify(shared, backend, kind, object, listed_at).await {
                Ownership::Stray(owner, incarnation) => {
                    strays.push((owner, incarnation, object.external_id.clone()));
                }
                Ownership::Unknown => unknown += 1,
                Ownership::NotStray => {}
            }
        }
        for (owner, incarnation, external_id) in strays {
            record_stray(shared, &owner, incarnation, external_id).await;
        }
        cursor = listing.cursor;
        if cursor.is_none() || shared.is_stopping(backend) {
            break;
        }
    }
    Ok(unknown)
}

/// What an object is to this installation.
enum Ownership {
    /// Left behind by this entity, in that incarnation.
    Stray(Arc<Entity>, Incarnation),
    /// Carries a key of this installation, but belongs to no entity here, or is perhaps a copy of an entity's object.
    Unknown,
    /// Belongs to an entity or to another owner, or cannot be classified now.
    NotStray,
}

async fn classify(
    shared: &Shared,
    backend: &Backend,
    kind: &KindName,
    object: &Object,
    listed_at: Timestamp,
) -> Ownership {
    let owner = object.owner_key.as_ref().and_then(stateward_domain::id::OwnerKey::parse);
    let Some((id, incarnation)) = owner else { return Ownership::NotStray };
    let Ok(entity) = shared.entities.fresh(id).await else { return Ownership::NotStray };
    if !entity.exists() || entity.manifest.backend != *backend.name() {
        tracing::warn!(
            backend = %backend.name(),
            object = %object.external_id,
            owner = %id,
            "an object carries the owner key of no entity here"
        );
        return Ownership::Unknown;
    }
    if !is_stray(&entity, object, incarnation, listed_at) {
        return Ownership::NotStray;
    }
    if may_be_copy(backend.kind(kind), &entity, incarnation) {
        tracing::warn!(
            backend = %backend.name(),
            object = %object.external_id,
            entity.id = %id,
            "an extra object carries the owner key of an entity, perhaps copied from its object: it is left"
        );
        return Ownership::Unknown;
    }
    Ownership::Stray(entity, incarnation)
}

async fn record_stray(
    shared: &Shared,
    owner: &Entity,
    incarnation: Incarnation,
    external_id: ExternalId,
) {
    tracing::warn!(
        entity.id = %owner.id,
        object = %external_id,
        "an extra object carries the owner key of an entity: it is cleaned up"
    );
    let intent = Intent::RecordExternalId { attempt: Attempt(0), incarnation, external_id };
    let envelope = Envelope::system("sweep", owner.manifest.namespace.clone());
    if let Err(error) = shared.commands.report(owner.id, &envelope, &intent).await {
        tracing::warn!(entity.id = %owner.id, %error, "a stray was not recorded");
    }
}

/// Only certain cases count: no attempt is running, and the entity's own object is known to be another one. If the
/// entity changed after the list was requested, the list may show an object that was deleted since: the next sweep
/// decides.
fn is_stray(
    entity: &Entity,
    object: &Object,
    incarnation: Incarnation,
    listed_at: Timestamp,
) -> bool {
    if entity.released || entity.running.is_some() || entity.updated_at >= listed_at {
        return false;
    }
    if entity.is_deleted() {
        return true;
    }
    let own = entity.observed.external_id.as_ref();
    let known = entity.observed.presence == Presence::Present
        && own.is_some_and(|own| *own != object.external_id);
    known && incarnation <= entity.incarnation
}

/// Whether the key of an extra object may be a copy: there was an object of that incarnation to copy it from.
fn may_be_copy(kind: Option<&KindSpec>, entity: &Entity, incarnation: Incarnation) -> bool {
    let copies = kind.is_none_or(|kind| kind.copies_owner_key);
    copies && (entity.materialised || incarnation != entity.incarnation)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stateward_domain::entity::state::State;

    use super::*;

    /// Whether an object called `found` is a stray of `entity`, whose last change was `age` seconds before the list was
    /// requested (negative: after).
    fn stray(entity: &Entity, found: &str, age: i64) -> bool {
        let changed = Timestamp::default().after(Duration::from_secs(100));
        let entity = Entity { updated_at: changed, ..entity.clone() };
        let seconds = u64::try_from(100 + age).expect("not before the epoch");
        let listed_at = Timestamp::default().after(Duration::from_secs(seconds));
        let object =
            Object { external_id: ExternalId::from(found), owner_key: None, attributes: json!({}) };
        is_stray(&entity, &object, Incarnation::default(), listed_at)
    }

    #[test]
    fn a_kind_that_may_not_be_listed_is_tried_again_each_hour() {
        let owned = |name: &str| KindSpec { name: name.into(), ..crate::stub_driver::kind() };
        let unowned = KindSpec { owner_key: false, ..owned("c") };
        let specs = [owned("a"), owned("b"), unowned];
        let mut sweeps = Sweeps::default();
        let minute = |minutes: u64| Duration::from_secs(minutes * 60);
        let names = |sweeps: &Sweeps, now: u64| -> Vec<String> {
            sweeps.kinds(&specs, minute(now)).into_iter().map(|kind| kind.0).collect()
        };
        assert_eq!(names(&sweeps, 1), ["a", "b"]);
        assert!(sweeps.note("a".into(), Ok(3), minute(1)).is_none());
        let failed = |class| Err(Failure::harmless(class, "on_purpose", "on purpose"));
        let refused = |sweeps: &mut Sweeps, now: u64| {
            assert!(sweeps.note("b".into(), failed(ErrorClass::Refused), minute(now)).is_none());
            assert_eq!(names(sweeps, now + 59), ["a"]);
            assert_eq!(names(sweeps, now + 60), ["a", "b"]);
        };
        refused(&mut sweeps, 1);
        refused(&mut sweeps, 61);
        assert!(sweeps.note("b".into(), Ok(0), minute(121)).is_none());
        assert_eq!(names(&sweeps, 122), ["a", "b"]);
        assert!(sweeps.note("a".into(), failed(ErrorClass::Transient), minute(122)).is_some());
        assert_eq!(sweeps.unknown.values().sum::<u64>(), 3, "the last count stays");
    }

    #[test]
    fn what_is_left_of_a_deleted_entity_is_a_stray() {
        let deleted = Entity { state: State::Deleted, ..Entity::default() };
        assert!(stray(&deleted, "it", 1));
        assert!(!stray(&Entity { released: true, ..deleted }, "it", 1));
    }

    #[test]
    fn a_list_from_before_the_deletion_proves_nothing() {
        let deleted = Entity { state: State::Deleted, ..Entity::default() };
        assert!(!stray(&deleted, "it", 0));
        assert!(!stray(&deleted, "it", -1));
    }

    #[test]
    fn another_object_than_the_own_is_a_stray() {
        let mut entity = Entity { state: State::Ok, ..Entity::default() };
        assert!(!stray(&entity, "other", 1), "its own may be this one");
        entity.observed.presence = Presence::Present;
        entity.observed.external_id = Some(ExternalId::from("own"));
        assert!(stray(&entity, "other", 1));
        assert!(!stray(&entity, "own", 1));
        assert!(!stray(&entity, "other", -1), "its own was not yet known");
    }

    #[test]
    fn an_object_that_may_carry_a_copied_key_is_left() {
        let copying = KindSpec { copies_owner_key: true, ..crate::stub_driver::kind() };
        let marks_its_own = crate::stub_driver::kind();
        let second = Incarnation(2);
        let entity =
            |materialised| Entity { incarnation: second, materialised, ..Entity::default() };
        for (kind, materialised, incarnation, copy) in [
            (Some(&copying), true, second, true),
            (Some(&copying), false, Incarnation(1), true),
            (Some(&copying), false, second, false),
            (Some(&marks_its_own), true, second, false),
            (None, true, second, true),
        ] {
            assert_eq!(
                may_be_copy(kind, &entity(materialised), incarnation),
                copy,
                "{materialised} {incarnation:?}"
            );
        }
    }
}
