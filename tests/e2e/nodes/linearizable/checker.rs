//! Whether a concurrent history is linearizable: the search of Wing and Gong (1993) for an order of the calls that keeps
//! to real time and that a sequential model allows, with the memory of Lowe (2017) for what was tried.

use std::collections::HashSet;
use std::hash::Hash;

/// Combinations of done calls and a state that are tried at most.
const TRIED_MAX: usize = 2_000_000;

/// A sequential object.
pub(super) trait Model {
    type State: Clone + Eq + Hash;
    /// A request with its answer.
    type Call;

    /// The states in which `call` with its answer can leave `state`; none = it cannot be answered so there.
    fn after(state: &Self::State, call: &Self::Call) -> Vec<Self::State>;
}

/// A call of a history, in moments of one clock.
#[derive(Clone, Debug)]
pub(super) struct Timed<C> {
    pub(super) call: C,
    pub(super) began: u64,
    /// `None` = no answer came: it takes effect at any time after it began, or never.
    pub(super) ended: Option<u64>,
}

/// The longest order that was found for a history without one.
#[derive(Debug)]
pub(super) struct NotLinearizable<S> {
    /// Calls in that order, by their index in the history as sorted by beginning.
    pub(super) order: Vec<usize>,
    /// The state after them.
    pub(super) state: S,
}

/// Set of calls, by index.
type Done = Box<[u64]>;

/// Searches an order of `history`, which is sorted by the calls' beginnings.
///
/// # Errors
/// The longest order that fits, when none has every call that was answered.
///
/// # Panics
/// When [`TRIED_MAX`] does not suffice to tell.
pub(super) fn check<M: Model>(
    history: &[Timed<M::Call>],
    initial: M::State,
) -> Result<(), NotLinearizable<M::State>> {
    assert!(history.is_sorted_by_key(|timed| timed.began));
    let answered = history.iter().filter(|timed| timed.ended.is_some()).count();
    let none: Done = vec![0; history.len().div_ceil(64)].into();
    let mut tried: HashSet<(Done, M::State)> = HashSet::new();
    let mut longest = NotLinearizable { order: Vec::new(), state: initial.clone() };
    let mut longest_answered = 0;
    // Depth first; an order is rebuilt from the calls on the way.
    let mut open = vec![(none, initial, Vec::new())];
    while let Some((done, state, order)) = open.pop() {
        let in_order = order.iter().filter(|&&index: &&usize| history[index].ended.is_some());
        let in_order = in_order.count();
        if in_order == answered {
            return Ok(());
        }
        if in_order > longest_answered {
            longest_answered = in_order;
            longest = NotLinearizable { order: order.clone(), state: state.clone() };
        }
        // The one that ended first is tried first, so it is pushed last.
        for index in candidates(history, &done).into_iter().rev() {
            for after in M::after(&state, &history[index].call) {
                let mut done = done.clone();
                done[index / 64] |= 1 << (index % 64);
                if tried.insert((done.clone(), after.clone())) {
                    assert!(
                        tried.len() <= TRIED_MAX,
                        "undecided: {longest_answered} of {answered}"
                    );
                    let order = order.iter().copied().chain([index]).collect();
                    open.push((done, after, order));
                }
            }
        }
    }
    Err(longest)
}

/// Calls that can be the next one: no call that is not done ended before they began. Sorted by their ends.
fn candidates<C>(history: &[Timed<C>], done: &Done) -> Vec<usize> {
    let is_done = |index: usize| done[index / 64] >> (index % 64) & 1 == 1;
    let mut earliest = u64::MAX;
    let mut found = Vec::new();
    for (index, timed) in history.iter().enumerate().filter(|(index, _)| !is_done(*index)) {
        if timed.began > earliest {
            break;
        }
        earliest = earliest.min(timed.ended.unwrap_or(u64::MAX));
        found.push(index);
    }
    found.retain(|index| history[*index].began <= earliest);
    found.sort_by_key(|index| history[*index].ended.unwrap_or(u64::MAX));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register of one number.
    struct Register;

    #[derive(Clone, Copy)]
    enum Call {
        Write(u8),
        Read(u8),
    }

    impl Model for Register {
        type State = u8;
        type Call = Call;

        fn after(state: &u8, call: &Call) -> Vec<u8> {
            match *call {
                Call::Write(value) => vec![value],
                Call::Read(value) => Vec::from_iter((value == *state).then_some(value)),
            }
        }
    }

    fn is_linearizable(calls: &[(Call, u64, Option<u64>)]) -> bool {
        let timed = |&(call, began, ended): &_| Timed { call, began, ended };
        let mut history: Vec<_> = calls.iter().map(timed).collect();
        history.sort_by_key(|timed| timed.began);
        check::<Register>(&history, 0).is_ok()
    }

    #[test]
    fn histories_of_a_register_are_judged_by_what_their_readers_saw() {
        use Call::{Read, Write};
        for (what, calls, expected) in [
            ("nothing happened", vec![], true),
            ("a read after a write", vec![(Write(1), 0, Some(1)), (Read(1), 2, Some(3))], true),
            ("a stale read", vec![(Write(1), 0, Some(1)), (Read(0), 2, Some(3))], false),
            ("either, beside a write", vec![(Write(1), 0, Some(5)), (Read(0), 2, Some(3))], true),
            (
                "new, then old",
                vec![(Write(1), 0, Some(9)), (Read(1), 1, Some(2)), (Read(0), 3, Some(4))],
                false,
            ),
            (
                "two readers that saw two orders",
                vec![
                    (Write(1), 0, Some(9)),
                    (Write(2), 0, Some(9)),
                    (Read(1), 10, Some(11)),
                    (Read(2), 12, Some(13)),
                ],
                false,
            ),
            (
                "a lost write that took effect late",
                vec![(Write(1), 0, None), (Read(0), 2, Some(3)), (Read(1), 4, Some(5))],
                true,
            ),
            (
                "a lost write that came and went",
                vec![(Write(1), 0, None), (Read(1), 2, Some(3)), (Read(0), 4, Some(5))],
                false,
            ),
            ("a write from nowhere", vec![(Read(7), 0, Some(1))], false),
            (
                "a value before its write",
                vec![(Read(1), 0, Some(1)), (Write(1), 2, Some(3))],
                false,
            ),
        ] {
            assert_eq!(is_linearizable(&calls), expected, "{what}");
        }
    }
}
