//! The table of error classes, row by row.

use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::reference_target::Target;
use stateward_domain::entity::state::{OpenOperation, OperationKind};
use stateward_domain::failure::ErrorClass as Class;
use stateward_domain::id::{EntityId, EntityName, ExternalId, KindName, OperationId};

use super::*;
use crate::stub_driver::{self, StubDriver};

/// The kind of a `Next`, without its times.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    Again,
    Asks,
    Backend,
    Quota,
    Entity,
    Reference,
    Refused,
    InUse,
    Missing,
    Erred,
}

fn row(next: &Next) -> Row {
    match next {
        Next::Retry { .. } => Row::Again,
        Next::Erred => Row::Erred,
        Next::Blocked { on: BlockedOn::Decision, .. } => Row::Asks,
        Next::Blocked { on: BlockedOn::Backend, .. } => Row::Backend,
        Next::Blocked { on: BlockedOn::Quota, .. } => Row::Quota,
        Next::Blocked { on: BlockedOn::Refused, .. } => Row::Refused,
        Next::Blocked { on: BlockedOn::InUseOutside, .. } => Row::InUse,
        Next::Blocked { on: BlockedOn::MissingOutside, .. } => Row::Missing,
        Next::Blocked { on: BlockedOn::Entity(_), .. } => Row::Entity,
        Next::Blocked { on: BlockedOn::Reference(_), .. } => Row::Reference,
        Next::Blocked { on, .. } => unreachable!("{on:?} follows from no class"),
    }
}

/// Every class, what follows it, and whether it uses the budget.
fn table() -> Vec<(Class, Row, bool)> {
    let external_id = ExternalId("another".to_owned());
    let on = EntityId::default();
    let named = Target { kind: KindName::from("fake.thing"), name: EntityName::from("blue") };
    vec![
        (Class::Transient, Row::Again, true),
        (Class::RateLimited { after_ms: 7_000, scope: String::new() }, Row::Again, false),
        (Class::Ambiguous, Row::Again, true),
        (Class::Conflict, Row::Again, true),
        (Class::NotFound, Row::Again, true),
        (Class::AlreadyExists { external_id }, Row::Asks, false),
        (Class::Invalid, Row::Erred, true),
        (Class::Immutable, Row::Erred, true),
        (Class::Refused, Row::Refused, false),
        (Class::Exhausted, Row::Again, false),
        (Class::Unauthorized, Row::Backend, false),
        (Class::Misconfigured, Row::Backend, false),
        (Class::QuotaExceeded, Row::Quota, false),
        (Class::DependencyNotReady { on }, Row::Entity, false),
        (Class::ReferenceNotReady { on: Box::new(named) }, Row::Reference, false),
        (Class::InUseOutside, Row::InUse, false),
        (Class::MissingOutside, Row::Missing, false),
        (Class::Bug, Row::Erred, true),
        (Class::Cancelled, Row::Again, true),
    ]
}

fn kind() -> KindSpec {
    KindSpec { retry_budget: 10, ..stub_driver::kind() }
}

fn settings() -> BackendSettings {
    BackendSettings::new("stub", "stub", Arc::new(StubDriver { kinds: vec![kind()] }))
}

fn failed(failures: u32) -> Entity {
    let mut entity = Entity::default();
    entity.trouble.failures = failures;
    entity
}

const NOW: Timestamp = Timestamp(1_000_000_000);

fn next(entity: &Entity, class: &Class) -> Next {
    let (kind, settings) = (kind(), settings());
    let context = RetryContext { entity, kind: &kind, settings: &settings, now: NOW, jitter: 1.0 };
    context.next(&Failure::harmless(class.clone(), "code", "message"))
}

#[test]
fn every_class_has_its_row() {
    for (class, expected, budget) in table() {
        assert_eq!(row(&next(&failed(0), &class)), expected, "{class:?}");
        assert_eq!(class.uses_budget(), budget, "{class:?}");
    }
}

#[test]
fn the_budget_ends_in_erred_and_only_where_it_counts() {
    let spent = failed(kind().retry_budget - 1);
    for (class, fresh, budget) in table() {
        let ends = fresh == Row::Again && budget;
        let expected = if ends { Row::Erred } else { fresh };
        assert_eq!(row(&next(&spent, &class)), expected, "{class:?}");
    }
}

#[test]
fn a_rate_limit_waits_as_long_as_it_was_asked_to() {
    let class = Class::RateLimited { after_ms: 7_000, scope: String::new() };
    assert_eq!(next(&failed(9), &class), Next::Retry { at: NOW.after(Duration::from_secs(7)) });
}

#[test]
fn a_conflict_is_retried_sooner_than_a_fault() {
    let wait = |class| match next(&failed(3), &class) {
        Next::Retry { at } => at.since(NOW),
        other => unreachable!("{other:?}"),
    };
    assert!(wait(Class::Conflict) * 5 < wait(Class::Transient));
}

#[test]
fn what_may_not_be_visible_yet_is_observed_after_the_settle_time() {
    let wait = |class, failures| match next(&failed(failures), &class) {
        Next::Retry { at } => at.since(NOW),
        other => unreachable!("{other:?}"),
    };
    let mut quick = settings();
    quick.retry.first = Duration::from_millis(1);
    let (kind, entity) = (kind(), failed(0));
    let context =
        RetryContext { entity: &entity, kind: &kind, settings: &quick, now: NOW, jitter: 0.5 };
    let failure = Failure::harmless(Class::NotFound, "code", "message");
    assert_eq!(context.next(&failure), Next::Retry { at: NOW.after(kind.settle) });
    assert_eq!(
        wait(Class::NotFound, 5),
        wait(Class::Transient, 5),
        "the backoff where it is longer"
    );
}

#[test]
fn a_blocked_entity_is_retried_unless_a_person_decides() {
    for (class, _, _) in table() {
        if let Next::Blocked { on, check_at } = next(&failed(0), &class) {
            let asks = on == BlockedOn::Decision;
            assert_eq!(check_at == Timestamp::NEVER, asks, "{class:?}");
        }
    }
}

#[test]
fn an_action_is_repeated_only_when_that_is_harmless() {
    let (kind, settings, entity) = (kind(), settings(), failed(0));
    let context =
        RetryContext { entity: &entity, kind: &kind, settings: &settings, now: NOW, jitter: 1.0 };
    let ends = |failure: &Failure, idempotent| context.after_action(failure, idempotent).1;
    let harmless = Failure::harmless(Class::Transient, "code", "message");
    let doubtful = Failure::doubtful(Class::Ambiguous, "code", "message");
    let refused = Failure::harmless(Class::Invalid, "code", "message");
    let missing = Failure::harmless(Class::NotFound, "code", "message");
    assert!(!ends(&missing, false), "only an observation tells that there is no object");
    assert!(!ends(&harmless, false) && !ends(&harmless, true));
    assert!(ends(&doubtful, false) && !ends(&doubtful, true));
    assert!(ends(&refused, false) && ends(&refused, true));
}

#[test]
fn the_same_difference_after_three_updates_blocks() {
    let (kind, settings) = (kind(), settings());
    let left = vec!["/size".to_owned()];
    let mut entity = failed(0);
    entity.trouble.remaining.clone_from(&left);
    for (unconverged, blocks) in [(0, false), (1, false), (2, true)] {
        entity.trouble.unconverged = unconverged;
        let context = RetryContext {
            entity: &entity,
            kind: &kind,
            settings: &settings,
            now: NOW,
            jitter: 1.0,
        };
        let failure = Failure::harmless(Class::Transient, "not_converged", "message");
        let next = context.after_unconverged(&failure, &left);
        assert_eq!(matches!(next, Next::Blocked { .. }), blocks, "{unconverged}");
    }
}

#[test]
fn backoff_doubles_up_to_its_bound() {
    let policy = RetryPolicy::default();
    assert_eq!(backoff(&policy, 0), Duration::from_secs(1));
    assert_eq!(backoff(&policy, 3), Duration::from_secs(8));
    assert_eq!(backoff(&policy, 4_000_000), Duration::from_mins(5));
}

#[test]
fn what_something_outside_uses_is_tried_ever_more_slowly_and_for_ever() {
    let wait = |waited: u64, failures: u32| {
        let mut entity = failed(failures);
        let since = Timestamp(NOW.0 - i64::try_from(waited).unwrap() * 1_000_000);
        let kind = OperationKind::Delete;
        let id = OperationId::default();
        entity.operations.push(OpenOperation { id, kind, since, input: Value::Null });
        match next(&entity, &Class::InUseOutside) {
            Next::Blocked { on: BlockedOn::InUseOutside, check_at } => check_at.since(NOW),
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!(wait(0, 0), Duration::from_secs(1), "the first pause");
    assert_eq!(wait(60, 0), Duration::from_secs(15));
    assert_eq!(wait(900, 99), Duration::from_secs(225), "no budget ends it");
    let check =
        Next::Blocked { on: BlockedOn::InUseOutside, check_at: NOW.after(settings().retry.max) };
    assert_eq!(next(&failed(0), &Class::InUseOutside), check, "nothing waits for it");
}
