//! The contract of a driver for a kind, from creation to deletion, with the failures in between.

use std::sync::atomic::Ordering;

use stateward_domain::failure::{Effect, ErrorClass};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Create, Plan};

use crate::call_control::{Control, context};
use crate::kind_under_test::Subject;

pub(crate) async fn what_is_created_is_observed_found_and_listed_and_needs_no_change(
    subject: &Subject,
) {
    let (kind, desired) = (&subject.kind, &subject.desired[0]);
    let id = subject.create(desired).await.unwrap();
    assert_eq!(subject.plan(&id, desired).await, Plan::Noop, "{kind}");
    let found = subject.find(desired).await;
    assert_eq!(found.iter().map(|o| &o.external_id).collect::<Vec<_>>(), [&id], "{kind}");
    assert!(subject.is_listed(&id).await, "{kind}");
    if subject.spec().owner_key {
        assert_eq!(found[0].owner_key, Some(subject.key()), "{kind}: whose it is");
        // Otherwise an object that a late worker left behind would count as another's.
        assert_eq!(subject.present(&id).await.owner_key, Some(subject.key()), "{kind}: observed");
    }
}

pub(crate) async fn a_creation_that_is_repeated_never_harms_what_is_there(subject: &Subject) {
    let (kind, desired) = (&subject.kind, &subject.desired[0]);
    let id = subject.create(desired).await.unwrap();
    if subject.spec().identity.is_none() {
        return;
    }
    let other = subject.desired.get(1).unwrap_or(desired);
    let again = subject.create(other).await.expect_err("the identity is taken");
    let class = ErrorClass::AlreadyExists { external_id: id.clone() };
    assert_eq!((again.class, again.effect), (class, Effect::None), "{kind}");
    assert_eq!(subject.plan(&id, desired).await, Plan::Noop, "{kind}: it was touched");
}

pub(crate) async fn each_field_is_updated_alone(subject: &Subject) {
    let kind = &subject.kind;
    let id = subject.create(&subject.desired[0]).await.unwrap();
    for desired in &subject.desired[1..] {
        let Plan::Update { fields } = subject.plan(&id, desired).await else {
            panic!("{kind}: no update is planned for {desired}");
        };
        assert_eq!(fields.len(), 1, "{kind}: {fields:?}");
        subject.update(&id, desired).await.unwrap();
        assert_eq!(subject.plan(&id, desired).await, Plan::Noop, "{kind}");
        if !subject.one_way.contains(desired) {
            subject.update(&id, &subject.desired[0]).await.unwrap();
        }
    }
}

pub(crate) async fn an_immutable_field_needs_a_replacement_and_is_never_changed(subject: &Subject) {
    let kind = &subject.kind;
    if subject.immutable.is_null() {
        assert!(subject.spec().immutable.is_empty(), "{kind}");
        return;
    }
    let id = subject.create(&subject.desired[0]).await.unwrap();
    let plan = subject.plan(&id, &subject.immutable).await;
    assert!(matches!(plan, Plan::Replace { .. }), "{kind}: {plan:?}");
    let refused = subject.update(&id, &subject.immutable).await.expect_err("refused");
    assert_eq!(refused.class, ErrorClass::Immutable, "{kind}");
    assert_eq!(subject.plan(&id, &subject.desired[0]).await, Plan::Noop, "{kind}");
}

pub(crate) async fn a_deletion_is_proved_and_may_be_repeated(subject: &Subject) {
    let (kind, desired) = (&subject.kind, &subject.desired[0]);
    let id = subject.create(desired).await.unwrap();
    subject.delete(&id).await.unwrap();
    subject.is_proved_absent(&id).await;
    // Deleting a deleted object succeeds, because the engine takes no failure as a proof of absence.
    subject.delete(&id).await.expect("what is gone is deleted");
    subject.is_proved_absent(&id).await;
    assert!(subject.find(desired).await.is_empty(), "{kind}");
    subject.next_incarnation();
    subject.create(desired).await.expect("the place is free again");
}

pub(crate) async fn drift_is_seen_and_corrected(subject: &Subject) {
    let (kind, desired) = (&subject.kind, &subject.desired[0]);
    let id = subject.create(desired).await.unwrap();
    match (&subject.tamper, subject.desired.get(1)) {
        (Some(tamper), _) => tamper(&id),
        (None, Some(other)) => subject.update(&id, other).await.unwrap(),
        // No field is mutable.
        (None, None) => return,
    }
    assert!(matches!(subject.plan(&id, desired).await, Plan::Update { .. }), "{kind}");
    subject.update(&id, desired).await.unwrap();
    assert_eq!(subject.plan(&id, desired).await, Plan::Noop, "{kind}");
}

pub(crate) async fn what_was_never_there_is_proved_absent(subject: &Subject) {
    let id = ExternalId("nothing-here".to_owned());
    subject.is_proved_absent(&id).await;
    assert!(subject.find(&subject.desired[0]).await.is_empty());
}

pub(crate) async fn a_checked_desired_state_stays_as_it_is(subject: &Subject) {
    for desired in &subject.desired {
        let checked = subject.checked(desired);
        assert_eq!(subject.checked(&checked), checked, "{}", subject.kind);
    }
}

pub(crate) async fn what_was_observed_is_no_change_when_it_is_declared(subject: &Subject) {
    let id = subject.create(&subject.desired[0]).await.unwrap();
    let observed = subject.present(&id).await.attributes;
    let plan = subject.driver.plan(&subject.kind, &observed, &observed);
    assert_eq!(plan, Plan::Noop, "{}", subject.kind);
}

pub(crate) async fn nothing_is_sent_once_the_attempt_s_time_is_over(subject: &Subject) {
    let control = Control::new();
    control.may_send.store(false, Ordering::SeqCst);
    let create = Create {
        kind: subject.kind.clone(),
        owner_key: subject.key(),
        spec: subject.checked(&subject.desired[0]),
    };
    let refused = subject.driver.create(&context(&control), &create).await;
    assert_eq!(refused.expect_err("not sent").effect, Effect::None, "{}", subject.kind);
    assert!(subject.find(&subject.desired[0]).await.is_empty(), "{}", subject.kind);
}

pub(crate) async fn the_same_backend_has_the_same_identity(subject: &Subject) {
    let control = Control::new();
    let first = subject.driver.identity(&context(&control)).await.unwrap();
    assert_eq!(subject.driver.identity(&context(&control)).await.unwrap(), first);
    assert!(!first.is_empty(), "{}", subject.kind);
}

pub(crate) async fn what_is_write_only_never_comes_out(subject: &Subject) {
    const VALUE: &str = "hunter2-in-the-contract";
    for pointer in &subject.spec().write_only {
        let mut desired = subject.desired[0].clone();
        let member = pointer.trim_start_matches('/');
        desired.as_object_mut().unwrap().insert(member.to_owned(), VALUE.into());
        let id = subject.create(&desired).await.unwrap();
        assert_eq!(subject.plan(&id, &desired).await, Plan::Noop, "it cannot be compared");
        subject.update(&id, &desired).await.unwrap();
        let control = Control::new();
        let page = subject.driver.list(&context(&control), &subject.kind, None).await.unwrap();
        let found = subject.find(&desired).await;
        let seen = format!("{:?} {page:?} {found:?}", subject.observe(&id).await);
        assert!(!seen.contains(VALUE), "{}{pointer}: {seen}", subject.kind);
    }
}
