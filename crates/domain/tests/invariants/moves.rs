//! Random moves: what can be done to an entity.

use proptest::prelude::*;

/// The attempt that a report names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttemptOf {
    /// The running one, or none when none runs.
    Own,
    /// One that was taken over long ago.
    Stale,
}

/// The state in which a call left the object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ObjectAfter {
    Present,
    Absent,
    Unknown,
}

/// What a process manager decided after a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FollowUp {
    Retry,
    Erred,
    Asks,
    WaitsSlowly,
}

#[derive(Clone, Debug)]
pub(crate) enum Move {
    Create { adopts: bool, identity: bool },
    Update(u8),
    Protect(bool),
    ObserveOnly(bool),
    Drift(u8),
    Delete { orphan: bool },
    Act,
    Refresh,
    Retry,
    Cancel(prop::sample::Index),
    Adopt(u8),
    Decide(u8),
    Pause(bool),
    Start { step: u8, takes_over: bool },
    RecordId { of: AttemptOf, name: u8 },
    Progress(AttemptOf),
    Complete { of: AttemptOf, left: ObjectAfter, differs: bool },
    CompleteLook { takes_over: bool, left: ObjectAfter, differs: bool },
    Fail { of: AttemptOf, then: FollowUp, harmless: bool },
    Observe { left: ObjectAfter, differs: bool, on_lost: u8, late: bool },
    Contest { holds: Option<bool> },
}

fn of() -> impl Strategy<Value = AttemptOf> {
    prop_oneof![5 => Just(AttemptOf::Own), 1 => Just(AttemptOf::Stale)]
}

fn left() -> impl Strategy<Value = ObjectAfter> {
    prop_oneof![4 => Just(ObjectAfter::Present), 3 => Just(ObjectAfter::Absent), 1 => Just(ObjectAfter::Unknown)]
}

fn then() -> impl Strategy<Value = FollowUp> {
    prop_oneof![
        3 => Just(FollowUp::Retry),
        1 => Just(FollowUp::Erred),
        1 => Just(FollowUp::Asks),
        1 => Just(FollowUp::WaitsSlowly),
    ]
}

fn users() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => (any::<bool>(), any::<bool>())
            .prop_map(|(adopts, identity)| Move::Create { adopts: adopts && identity, identity }),
        4 => (0_u8..4).prop_map(Move::Update),
        1 => any::<bool>().prop_map(Move::Protect),
        1 => any::<bool>().prop_map(Move::ObserveOnly),
        1 => (0_u8..3).prop_map(Move::Drift),
        2 => any::<bool>().prop_map(|orphan| Move::Delete { orphan }),
        2 => Just(Move::Act),
        2 => Just(Move::Refresh),
        2 => Just(Move::Retry),
        2 => any::<prop::sample::Index>().prop_map(Move::Cancel),
        1 => (0_u8..3).prop_map(Move::Adopt),
        2 => (0_u8..3).prop_map(Move::Decide),
        1 => any::<bool>().prop_map(Move::Pause),
    ]
}

fn workers() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0_u8..7, any::<bool>())
            .prop_map(|(step, takes_over)| Move::Start { step, takes_over }),
        2 => (of(), 0_u8..3).prop_map(|(of, name)| Move::RecordId { of, name }),
        2 => of().prop_map(Move::Progress),
        5 => (of(), left(), any::<bool>())
            .prop_map(|(of, left, differs)| Move::Complete { of, left, differs }),
        3 => (any::<bool>(), left(), any::<bool>())
            .prop_map(|(takes_over, left, differs)| Move::CompleteLook { takes_over, left, differs }),
        4 => (of(), then(), any::<bool>())
            .prop_map(|(of, then, harmless)| Move::Fail { of, then, harmless }),
        3 => (left(), any::<bool>(), 0_u8..3, prop::bool::weighted(0.1)).prop_map(
            |(left, differs, on_lost, late)| Move::Observe { left, differs, on_lost, late }
        ),
        1 => any::<Option<bool>>().prop_map(|holds| Move::Contest { holds }),
    ]
}

/// One move; a history begins with any of them.
pub(crate) fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![1 => users(), 1 => workers()]
}
