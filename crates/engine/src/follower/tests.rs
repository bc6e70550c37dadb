//! Each of two engines on one store learns from the log what the other did.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::access::{Grant, Role, Token};
use stateward_domain::backend::{BackendEvent, ParkCause};
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{BackendName, Version};
use stateward_domain::ports::audit::LogLife;
use stateward_domain::ports::read_model::ReadModel;
use stateward_domain::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backends::availability::Unavailable;
use crate::process_manager;
use crate::projections::runner::tests::run_alone;
use crate::service::Verb;
use crate::service::reload::reload_as_recorded;

mod fixture;

use fixture::*;

#[tokio::test]
async fn a_token_that_one_process_revoked_is_refused_by_the_other() {
    let Nodes { one, other, .. } = &nodes().await;
    let grants = vec![Grant { role: Role::Admin, namespace: None }];
    let token = Token { digest: "d".to_owned(), actor: "ann".to_owned(), grants, expires_at: None };
    let id = one.engine.access().issue(&envelope(), token).await.expect("issued");
    soon("issued", || other.engine.access().identify("d").is_some()).await;
    other.engine.access().revoke(&envelope(), id).await.expect("revoked");
    soon("revoked", || one.engine.access().identify("d").is_none()).await;
    assert!(!one.engine.access().is_valid(id));
}

#[tokio::test]
async fn a_backend_that_one_process_paused_or_parked_is_so_for_the_other() {
    let Nodes { one, other, .. } = &nodes().await;
    let name = BackendName::from("b");
    one.engine.pause_backend(&name, None, &envelope()).await.expect("paused");
    soon("paused", || other.is_paused()).await;
    let cause = ParkCause::MassAbsence { absent: 6, observed: 7 };
    let shared = &other.engine.inner.shared;
    shared.park(&other.backend(), cause.clone(), Version(0)).await.expect("parked");
    soon("parked", || one.unavailable() == Some(Unavailable::Parked(cause.clone()))).await;
}

/// The other process counted absences while it had not heard of the park and its end yet.
#[tokio::test]
async fn a_confirmation_in_one_process_covers_what_the_other_observed_before_it() {
    let Nodes { one, other, .. } = &nodes().await;
    let cause = ParkCause::MassAbsence { absent: 6, observed: 7 };
    let (here, there) = (&one.engine.inner.shared, &other.engine.inner.shared);
    let known = other.backend().availability.confirmed();
    here.park(&one.backend(), cause.clone(), known).await.expect("parked");
    let at = one.engine.clock().now();
    let confirm = |_: &_| vec![BackendEvent::Unparked { at }];
    here.append_backend_events(&BackendName::from("b"), &envelope(), confirm)
        .await
        .expect("confirmed");
    there.park(&other.backend(), cause.clone(), known).await.expect("not parked");
    let parked = |node: &Node| matches!(node.unavailable(), Some(Unavailable::Parked(_)));
    assert!(!parked(other));
    soon("confirmed", || !parked(one)).await;
    // Another loss, observed after it.
    let known = other.backend().availability.confirmed();
    there.park(&other.backend(), cause, known).await.expect("parked");
    assert!(parked(other));
}

#[tokio::test]
async fn changes_that_one_process_allowed_are_allowed_in_the_other() {
    let Nodes { one, other, .. } = &nodes().await;
    assert!(one.engine.is_observe_only() && other.engine.is_observe_only());
    one.engine.unfreeze(&envelope()).await.expect("allowed");
    soon("allowed", || !other.engine.is_observe_only()).await;
}

#[tokio::test]
async fn a_hold_that_one_process_recorded_holds_the_other_until_any_of_them_lifts_it() {
    let Nodes { one, other, .. } = &nodes().await;
    one.engine.unfreeze(&envelope()).await.expect("allowed");
    soon("allowed", || !other.engine.is_observe_only()).await;
    let marked = LogLife { held: true, ..LogLife::default() };
    one.engine.begin(marked).await.expect("recorded");
    assert!(one.engine.is_observe_only());
    soon("held", || other.engine.is_observe_only()).await;
    one.engine.begin(marked).await.expect("recorded before");
    assert_eq!(one.holds().await, 1, "a repetition records nothing");
    // This process has not followed the log up to here: its own memory says that changes are allowed.
    let shared = &other.engine.inner.shared;
    shared.allow_changes(other.engine.backends()).await;
    other.engine.unfreeze(&envelope()).await.expect("lifted");
    soon("lifted", || !one.engine.is_observe_only()).await;
    one.engine.begin(LogLife::default()).await.expect("a start");
    assert!(!one.engine.is_observe_only(), "for good");
}

#[tokio::test]
async fn a_hold_is_recorded_once_for_an_epoch_and_a_mark_that_is_left_over_is_removed() {
    let Nodes { one, folder, .. } = &nodes().await;
    let mark = folder.path().join("put-back");
    let begun = |epoch| LogLife { held: true, held_epoch: Some(epoch), lost_at: None };
    for (epoch, holds) in [(7, 1), (8, 2)] {
        for _ in 0..2 {
            std::fs::write(&mark, "").expect("a mark");
            one.engine.begin(begun(epoch)).await.expect("recorded");
            assert!(one.engine.is_observe_only() && mark.exists());
        }
        one.engine.unfreeze(&envelope()).await.expect("lifted");
        // As a process leaves it that dies between the event and the removal of the mark.
        std::fs::write(&mark, "").expect("a mark");
        one.engine.begin(begun(epoch)).await.expect("a start");
        assert!(!one.engine.is_observe_only(), "a person lifted the hold of epoch {epoch}");
        assert!(!mark.exists(), "the next start meets it again");
        assert_eq!(one.holds().await, holds);
    }
}

#[tokio::test]
async fn what_was_declared_before_a_restore_or_a_loss_may_lack_events() {
    let Nodes { one, other, .. } = &nodes().await;
    let cut = |node: &Node| node.engine.inner.shared.log_cut_at();
    let lost = LogLife { lost_at: Some(Timestamp::NEVER), ..LogLife::default() };
    one.engine.begin(LogLife::default()).await.expect("a start");
    assert_eq!(cut(one), None);
    let now = one.engine.clock().now();
    one.engine.begin(lost).await.expect("a start");
    assert_eq!(cut(one), Some(now), "the clock that noticed the loss was ahead");
    assert_eq!(cut(other), None);
    let held = LogLife { held: true, held_epoch: Some(7), lost_at: None };
    one.engine.begin(held).await.expect("recorded");
    soon("followed", || cut(other).is_some()).await;
    other.engine.begin(LogLife::default()).await.expect("a start");
    assert!(cut(other) >= Some(now), "from the log");
}

#[tokio::test]
async fn an_operation_that_ends_in_one_process_ends_the_wait_in_the_other() {
    let Nodes { one, other, .. } = &nodes().await;
    let creation = one.declare().await;
    let (entity, operation) = (creation.entity.id, creation.operation.id);
    let wait = other.engine.follow_operation(creation, 10 * SOON);
    let end = async {
        // The wait has begun, and waits for its first change.
        tokio::task::yield_now().await;
        let cancel = Verb::Cancel(operation);
        one.engine.act(envelope(), entity, cancel).await.expect("cancelled");
        std::time::Instant::now()
    };
    let (followed, ended) = tokio::join!(wait, end);
    assert!(ended.elapsed() < SOON, "the wait went on for {:?}", ended.elapsed());
    assert!(followed.expect("a log").operation.state.is_done());
}

#[tokio::test]
async fn a_read_model_that_another_process_writes_is_waited_for() {
    let Nodes { one, other, store, .. } = &nodes().await;
    let head = one.declare().await.position;
    assert!(!other.engine.caught_up(head, Duration::from_millis(1)).await);
    let model: Arc<dyn ReadModel> = store.ports.models[0].clone();
    let (progress, stop) = (watch::Sender::default(), CancellationToken::new());
    tokio::spawn(run_alone(store.ports.log.clone(), model, progress, stop));
    assert!(other.engine.caught_up(head, SOON).await);
    let shown = other.engine.projections().await;
    let shown = shown.iter().find(|status| status.name == "entities").expect("it is shown");
    assert_eq!(shown.progress.position, head, "as ready as the other process made it");
}

#[tokio::test]
async fn work_that_another_executor_queued_is_leased_at_once() {
    let Nodes { one, other, store, .. } = &nodes().await;
    let shared = Arc::clone(&other.engine.inner.shared);
    other.backend().availability.record_identified();
    tokio::spawn(process_manager::run(shared, other.engine.backends().clone()));
    let (queue, name) = (Arc::clone(&store.ports.queue), BackendName::from("b"));
    // What the start recorded of the backend, and wakes the dispatcher, is followed before the pause.
    let log = one.engine.log();
    while log.head_of(&StreamId::backend(&name)).await.expect("a log") == Version(0) {
        tokio::task::yield_now().await;
    }
    one.engine.pause_backend(&name, None, &envelope()).await.expect("paused");
    soon("paused", || other.is_paused()).await;
    let head = one.declare().await.position;
    let executor = Arc::clone(&one.engine.inner.executor);
    let (progress, stop) = (watch::Sender::default(), CancellationToken::new());
    tokio::spawn(run_alone(store.ports.log.clone(), executor, progress, stop));
    let leased = async {
        queue.advanced_past(head).await;
        // Due work has a time of zero, a lease that of its end.
        while queue.next_due(&name, false).await.expect("a queue").within == Some(Duration::ZERO) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, leased).await.expect("in time");
    other.engine.inner.shared.wait_for_executor(head).await.expect("the queue includes it");
}

#[tokio::test]
async fn a_reload_by_one_process_reloads_the_other_once() {
    let Nodes { one, other, store, .. } = &nodes().await;
    for node in [one, other] {
        tokio::spawn(reload_as_recorded(node.engine.clone()));
    }
    let model: Arc<dyn ReadModel> = store.ports.models[0].clone();
    let (progress, stop) = (watch::Sender::default(), CancellationToken::new());
    tokio::spawn(run_alone(store.ports.log.clone(), model, progress, stop));
    let before = other.backend();
    one.engine.reload(&envelope()).await.expect("reloaded");
    soon("reloaded", || !Arc::ptr_eq(&before, &other.backend())).await;
    // A further event of the log was followed by both: neither reads its own reload, or one twice.
    one.engine.pause_backend(&BackendName::from("b"), None, &envelope()).await.expect("paused");
    soon("paused", || one.is_paused() && other.is_paused()).await;
    assert_eq!((one.source.readings(), other.source.readings()), (1, 1));
}
