//! The entities of one name, as a sequential object: a register with a revision, which is deleted and declared again.
//!
//! What the interface promises of it: `GET /v1/entities/{id}` is answered from the aggregate and never stale; a change is
//! in the log before it is answered; `If-Match` is compared with the present revision; a name has one entity at a time.
//! Lists promise less (`wait_for`), and are no part of it.

use super::checker::Model;

/// An entity, by the value that it was declared with: no two have the same.
pub(super) type Id = u64;

/// The entity that has, or last had, the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entity {
    pub(super) id: Id,
    pub(super) revision: u64,
    pub(super) value: u64,
    pub(super) life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Lives,
    /// Its deletion was accepted; it ends by itself at some time.
    Ends,
    Ended,
}

/// What a reply shows of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) revision: u64,
    pub(super) value: u64,
    pub(super) is_deleted: bool,
}

/// A request with its answer.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Create { id: Id, answer: Answer },
    Update { id: Id, value: u64, if_revision: Option<u64>, answer: Answer },
    Delete { id: Id, answer: Answer },
    Read { id: Id, shown: Shown },
}

/// The answer to a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted(Shown),
    /// 412.
    AtAnotherRevision,
    /// 409: the name is taken; the entity's deletion was requested, or is done.
    Conflict,
    /// No answer came.
    Lost,
}

/// `None` = the name was never declared.
type State = Option<Entity>;

pub(super) struct Name;

impl Model for Name {
    type State = State;
    type Call = Call;

    fn after(state: &State, call: &Call) -> Vec<State> {
        // A deletion ends without a call of a client: it may have ended before this one.
        let mut before = vec![state.clone()];
        if let Some(entity) = state.as_ref().filter(|entity| entity.life == Life::Ends) {
            before.push(Some(Entity { life: Life::Ended, ..entity.clone() }));
        }
        before.iter().filter_map(|state| step(state.as_ref(), call)).collect()
    }
}

/// The state after `call`, in which nothing else happens; `None` = it is not answered so in this state.
fn step(state: Option<&Entity>, call: &Call) -> Option<State> {
    if let Call::Create { id, answer } = *call {
        return create(state, id, answer);
    }
    let entity = state?;
    let mut after = entity.clone();
    let fits = match *call {
        Call::Read { id, shown } if id != entity.id => shown.is_deleted,
        Call::Read { shown, .. } => shows(entity, shown),
        // An earlier entity of the name, which is gone for good.
        Call::Update { id, answer, .. } | Call::Delete { id, answer } if id != entity.id => {
            matches!(answer, Answer::Conflict | Answer::Lost)
        }
        Call::Update { value, if_revision, answer, .. } => {
            let matches = if_revision.is_none_or(|revision| revision == entity.revision);
            let applies = matches && entity.life == Life::Lives;
            if applies {
                after.revision += 1;
                after.value = value;
            }
            match answer {
                Answer::Accepted(shown) => applies && shows(&after, shown),
                Answer::AtAnotherRevision => !matches && entity.life != Life::Ended,
                Answer::Conflict => entity.life != Life::Lives,
                Answer::Lost => true,
            }
        }
        Call::Delete { answer, .. } => {
            let ends_at_once = matches!(answer, Answer::Accepted(shown) if shown.is_deleted);
            match entity.life {
                _ if ends_at_once => after.life = Life::Ended,
                Life::Lives => after.life = Life::Ends,
                Life::Ends | Life::Ended => {}
            }
            match answer {
                Answer::Accepted(shown) => entity.life != Life::Ended && shows(&after, shown),
                Answer::AtAnotherRevision => false,
                Answer::Conflict => entity.life == Life::Ended,
                Answer::Lost => true,
            }
        }
        Call::Create { .. } => false,
    };
    fits.then_some(Some(after))
}

fn create(state: Option<&Entity>, id: Id, answer: Answer) -> Option<State> {
    let is_free = state.is_none_or(|entity| entity.life == Life::Ended);
    let made = Entity { id, revision: 1, value: id, life: Life::Lives };
    match answer {
        Answer::Accepted(shown) => (is_free && shows(&made, shown)).then_some(Some(made)),
        Answer::Conflict => (!is_free).then(|| state.cloned()),
        Answer::Lost if is_free => Some(Some(made)),
        Answer::Lost => Some(state.cloned()),
        Answer::AtAnotherRevision => None,
    }
}

/// Whether a reply can show `entity` so. A deletion changes neither revision nor value, and may have ended since.
fn shows(entity: &Entity, shown: Shown) -> bool {
    let alike = (entity.revision, entity.value) == (shown.revision, shown.value);
    alike && shown.is_deleted == (entity.life == Life::Ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::linearizable::checker::{Timed, check};

    fn shown(revision: u64, value: u64) -> Shown {
        Shown { revision, value, is_deleted: false }
    }

    fn create(id: Id) -> Call {
        Call::Create { id, answer: Answer::Accepted(shown(1, id)) }
    }

    fn read(id: Id, revision: u64, value: u64) -> Call {
        Call::Read { id, shown: shown(revision, value) }
    }

    fn update(id: Id, value: u64, if_revision: Option<u64>, answer: Answer) -> Call {
        Call::Update { id, value, if_revision, answer }
    }

    /// One after the other.
    fn in_turn(calls: &[Call]) -> bool {
        let timed = |(at, call): (usize, &Call)| Timed {
            call: call.clone(),
            began: at as u64 * 2,
            ended: Some(at as u64 * 2 + 1),
        };
        let history: Vec<_> = calls.iter().enumerate().map(timed).collect();
        check::<Name>(&history, None).is_ok()
    }

    #[test]
    fn a_bad_history_of_an_entity_is_rejected_and_a_good_one_is_not() {
        use Answer::{Accepted, AtAnotherRevision};
        for (what, calls, expected) in [
            ("read what was declared", vec![create(5), read(5, 1, 5)], true),
            ("another value", vec![create(5), read(5, 1, 6)], false),
            ("another revision", vec![create(5), read(5, 2, 5)], false),
            (
                "an update, and what it replaced",
                vec![
                    create(5),
                    update(5, 6, None, Accepted(shown(2, 6))),
                    read(5, 2, 6),
                    read(5, 1, 5),
                ],
                false,
            ),
            (
                "both of two updates of one revision",
                vec![
                    create(5),
                    update(5, 6, Some(1), Accepted(shown(2, 6))),
                    update(5, 7, Some(1), Accepted(shown(2, 7))),
                ],
                false,
            ),
            (
                "one of two updates of one revision",
                vec![
                    create(5),
                    update(5, 6, Some(1), Accepted(shown(2, 6))),
                    update(5, 7, Some(1), AtAnotherRevision),
                    read(5, 2, 6),
                ],
                true,
            ),
            (
                "412 at the present revision",
                vec![create(5), update(5, 6, Some(1), AtAnotherRevision)],
                false,
            ),
        ] {
            assert_eq!(in_turn(&calls), expected, "{what}");
        }
    }

    #[test]
    fn a_name_is_taken_until_its_entity_has_ended() {
        use Answer::{Accepted, Conflict};
        let delete = |answer| Call::Delete { id: 5, answer };
        let gone = Shown { is_deleted: true, ..shown(1, 5) };
        let taken = Call::Create { id: 9, answer: Conflict };
        for (what, calls, expected) in [
            ("a name with two entities", vec![create(5), create(6)], false),
            ("a name that is taken", vec![create(5), taken.clone()], true),
            ("a free name", vec![taken.clone()], false),
            (
                "declared again",
                vec![
                    create(5),
                    delete(Accepted(shown(1, 5))),
                    read(5, 1, 5),
                    taken.clone(),
                    create(6),
                    Call::Read { id: 5, shown: gone },
                    read(6, 1, 6),
                ],
                true,
            ),
            (
                "gone, and still in the way",
                vec![
                    create(5),
                    delete(Accepted(shown(1, 5))),
                    Call::Read { id: 5, shown: gone },
                    taken,
                ],
                false,
            ),
            (
                "a change after the deletion",
                vec![
                    create(5),
                    delete(Accepted(shown(1, 5))),
                    update(5, 6, None, Accepted(shown(2, 6))),
                ],
                false,
            ),
            ("gone without a deletion", vec![create(5), delete(Conflict)], false),
        ] {
            assert_eq!(in_turn(&calls), expected, "{what}");
        }
    }
}
