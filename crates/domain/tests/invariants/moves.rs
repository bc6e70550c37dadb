//! What can be done to an entity, drawn at random.

use proptest::prelude::*;

/// Which attempt a report claims to be of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// The running one, or none when none runs.
    Own,
    /// One that was taken over long ago.
    Stale,
}

/// What a call left behind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left {
    Present,
    Absent,
    Unknown,
}

/// What a process manager decided to follow a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
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
    RecordId { whose: Whose, name: u8 },
    Progress(Whose),
    Complete { whose: Whose, left: Left, differs: bool },
    CompleteLook { takes_over: bool, left: Left, differs: bool },
    Fail { whose: Whose, then: Then, harmless: bool },
    Observe { left: Left, differs: bool, on_lost: u8, late: bool },
    Contest { holds: Option<bool> },
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![5 => Just(Whose::Own), 1 => Just(Whose::Stale)]
}

fn left() -> impl Strategy<Value = Left> {
    prop_oneof![4 => Just(Left::Present), 3 => Just(Left::Absent), 1 => Just(Left::Unknown)]
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        3 => Just(Then::Retry),
        1 => Just(Then::Erred),
        1 => Just(Then::Asks),
        1 => Just(Then::WaitsSlowly),
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
        2 => (whose(), 0_u8..3).prop_map(|(whose, name)| Move::RecordId { whose, name }),
        2 => whose().prop_map(Move::Progress),
        5 => (whose(), left(), any::<bool>())
            .prop_map(|(whose, left, differs)| Move::Complete { whose, left, differs }),
        3 => (any::<bool>(), left(), any::<bool>())
            .prop_map(|(takes_over, left, differs)| Move::CompleteLook { takes_over, left, differs }),
        4 => (whose(), then(), any::<bool>())
            .prop_map(|(whose, then, harmless)| Move::Fail { whose, then, harmless }),
        3 => (left(), any::<bool>(), 0_u8..3, prop::bool::weighted(0.1)).prop_map(
            |(left, differs, on_lost, late)| Move::Observe { left, differs, on_lost, late }
        ),
        1 => any::<Option<bool>>().prop_map(|holds| Move::Contest { holds }),
    ]
}

/// One move; a life begins with whatever comes first.
pub(crate) fn one() -> impl Strategy<Value = Move> {
    prop_oneof![1 => users(), 1 => workers()]
}
