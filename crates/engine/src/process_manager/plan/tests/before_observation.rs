//! Before an observation: what is due, what runs, what must not be applied.

use super::*;

fn shown_before(before: &Before) -> String {
    match before {
        Before::Act(action) => shown(action),
        Before::Poll { handle } => format!("poll {handle}"),
        Before::Cancel { handle } => format!("cancel {handle}"),
        Before::ObserveStray(stray) => format!("observe stray {stray}"),
        Before::Observe => "observe".to_owned(),
    }
}

fn before(life: &Life, given: Given, fault: Option<DesiredFault>) -> String {
    with(life, given, |c| shown_before(&before_observation(c, given.throttled, || fault)))
}

fn stray(life: Life) -> Life {
    let incarnation = life.entity.incarnation;
    let external_id = external("stray");
    life.asked(Intent::RecordExternalId { attempt: Attempt(0), incarnation, external_id })
}

fn blocked(on: BlockedOn) -> Life {
    let life = Life::synced().updated(json!({"size": 2}));
    let check_at = NOW.after(Duration::from_mins(5));
    life.failed(ErrorClass::QuotaExceeded, Next::Blocked { on, check_at })
}

fn retrying(seconds: u64) -> Life {
    let life = Life::synced().updated(json!({"size": 2})).started(update());
    life.failed(ErrorClass::Transient, Next::Retry { at: NOW.after(Duration::from_secs(seconds)) })
}

#[test]
fn what_is_due_is_observed_and_what_is_not_waits() {
    let throttled = Given { throttled: Some(Duration::from_secs(9)), ..WORK };
    let entity = Box::default();
    let unborn = Life { entity, now: NOW, operations: 0 };
    let pending = Life::declared().started(AttemptStep::Create).pending();
    let mut later = pending.clone();
    if let Some(running) = &mut later.entity.running {
        running.pending = Some((json!("job"), NOW.after(Duration::from_secs(3))));
    }
    let operation_id = OperationId(Uuid::from_u128(1));
    let taken_back = pending.clone().asked(Intent::Cancel { operation_id });
    let unwanted = pending.clone().deleted(DeletionPolicy::Delete);
    let leaving = Life::synced().deleted(DeletionPolicy::Delete).started(AttemptStep::Delete);
    let gone = leaving.clone().completed(Observed::default());
    let on = BlockedOn::Entity(EntityId::default());
    for (name, life, given, expected) in [
        ("unknown", unborn, WORK, "wait 1s"),
        ("throttled", Life::declared(), throttled, "wait 9s"),
        ("declared", Life::declared(), WORK, "observe"),
        ("synced, leased for work", Life::synced(), WORK, "await change"),
        ("synced, leased for a check", Life::synced(), CHECK, "observe"),
        ("retry due", retrying(0), WORK, "observe"),
        ("retry later", retrying(7), WORK, "wait 7s"),
        ("blocked on quota", blocked(BlockedOn::Quota), WORK, "wait 300s"),
        ("blocked on an entity", blocked(on), WORK, "observe"),
        ("pending, due", pending.clone(), WORK, "poll \"job\""),
        ("pending, later", later, WORK, "wait 3s"),
        ("pending, taken back", taken_back, WORK, "cancel \"job\""),
        ("pending, to be deleted", unwanted, WORK, "cancel \"job\""),
        ("pending deletion", leaving.pending(), WORK, "poll \"job\""),
        ("deleted", gone.clone(), CHECK, "wait 1s"),
        ("stray", stray(Life::synced()), WORK, "observe stray stray"),
        ("stray of a deleted one", stray(gone), WORK, "observe stray stray"),
        ("erred", Life::erred(), CHECK, "observe"),
    ] {
        assert_eq!(before(&life, given, None), expected, "{name}");
    }
}

#[test]
fn an_abandoned_attempt_is_taken_over_unless_it_must_not_be_repeated() {
    let create = Life::declared().started(AttemptStep::Create);
    let mut third = create.clone();
    third.entity.trouble.abandoned = 2;
    let mut second = create.clone();
    second.entity.trouble.abandoned = 1;
    let act = |name| {
        let life = Life::synced().acted(name);
        let operation_id = life.entity.operations[0].id;
        life.started(AttemptStep::Action { operation_id })
    };
    let mut third_act = act("reboot");
    third_act.entity.trouble.abandoned = 2;
    for (name, life, expected) in [
        ("create", create, "observe"),
        ("create, second", second, "observe"),
        ("create, third", third, "fail attempts_abandoned over 1, erred"),
        ("idempotent action", act("reboot"), "observe"),
        ("idempotent action, third", third_act, "fail attempts_abandoned over 2 action, erred"),
        ("action", act("format"), "fail action_outcome_unknown over 2 action, retry in 0ns"),
    ] {
        assert_eq!(before(&life, WORK, None), expected, "{name}");
    }
}

#[test]
fn a_desired_state_that_must_not_be_applied_blocks_but_for_a_deletion() {
    let changed = || Some(DesiredFault::SchemaChanged);
    let deep = || Some(DesiredFault::TooDeep { pointer: "/a".to_owned() });
    let given_up = Life::declared().deleted(DeletionPolicy::Orphan);
    let leaving = Life::synced().deleted(DeletionPolicy::Delete);
    let recorded = with(&Life::synced(), CHECK, |c| match before_observation(c, None, deep) {
        Before::Act(action) => match *action {
            Action::Fail(report) => report,
            other => unreachable!("{other:?}"),
        },
        other => unreachable!("{other:?}"),
    });
    let waits = Life::synced().asked(Intent::Fail(recorded));
    let blocked = "blocked on Schema until 300s";
    for (name, life, fault, expected) in [
        ("changed", Life::synced(), changed(), format!("fail schema_changed, {blocked}")),
        ("deep", Life::synced(), deep(), format!("fail desired_state_too_deep, {blocked}")),
        ("recorded already", waits, deep(), "wait 30s".to_owned()),
        ("being deleted", leaving, changed(), "observe".to_owned()),
        ("deleted", given_up, changed(), "wait 1s".to_owned()),
    ] {
        assert_eq!(before(&life, CHECK, fault), expected, "{name}");
    }
}
