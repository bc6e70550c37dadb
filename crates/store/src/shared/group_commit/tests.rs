//! Tables of the batches, and of what becomes of each append when a batch fails.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use stateward_domain::entity::claims::Claim;
use stateward_domain::envelope::NewEvent;
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::ports::event_store::Appended;
use uuid::Uuid;

use super::*;

/// An append of `events` events to `stream` that changes these claims.
fn append(stream: &str, events: usize, keys: &[&str]) -> Append {
    let event = |number| NewEvent {
        id: EventId(Uuid::from_u128(number as u128)),
        event_type: "entity.paused".to_owned(),
        schema_version: 1,
        payload: "{}".into(),
        metadata: "{}".into(),
    };
    let free = |key: &&str| Claim::Free { key: ClaimKey((*key).to_owned()) };
    Append {
        stream: StreamId { category: "entity".to_owned(), id: stream.to_owned() },
        expected: Version(0),
        events: (0..events).map(event).collect(),
        claims: keys.iter().map(free).collect(),
    }
}

/// Stream, number of events, and claim keys of an append.
type Sent<'a> = (&'a str, usize, &'a [&'a str]);

#[test]
fn a_batch_has_one_append_per_stream_and_claim_in_order_of_arrival() {
    let table: [(&[Sent<'_>], &[&[usize]]); 8] = [
        (&[], &[]),
        (&[("a", 1, &[]), ("b", 1, &[])], &[&[0, 1]]),
        (&[("a", 1, &[]), ("a", 1, &[]), ("b", 1, &[])], &[&[0, 2], &[1]]),
        (&[("a", 1, &["k"]), ("b", 1, &["k"]), ("c", 1, &["j"])], &[&[0, 2], &[1]]),
        // The second waits for a claim, so the third waits for its stream, and the fourth for its claim.
        (
            &[("a", 1, &["k"]), ("b", 1, &["k", "j"]), ("b", 1, &[]), ("c", 1, &["j"])],
            &[&[0], &[1], &[2, 3]],
        ),
        (&[("a", 512, &[]), ("b", 1, &[])], &[&[0], &[1]]),
        (&[("a", 511, &[]), ("b", 2, &[]), ("c", 1, &[])], &[&[0, 2], &[1]]),
        // An append that is larger than a batch goes alone.
        (&[("a", 1_000, &[]), ("b", 1, &[]), ("c", 1_000, &[])], &[&[0], &[1], &[2]]),
    ];
    for (sent, batches) in table {
        let appends = sent.iter().map(|(stream, events, keys)| append(stream, *events, keys));
        let mut waiting: VecDeque<(usize, Append)> = appends.enumerate().collect();
        let mut found = Vec::new();
        while !waiting.is_empty() {
            let batch = next_batch(&mut waiting, |(_, append)| append);
            found.push(batch.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        }
        assert_eq!(found, batches, "{sent:?}");
    }
}

/// What the log answers to a commit.
#[derive(Clone, Copy)]
enum Answer {
    Written,
    SecondConflicts,
    Contended,
    Rejected,
    Unknown,
}

impl Answer {
    fn to(self, appends: &[Append]) -> Result<Vec<Outcome>, BatchError> {
        match self {
            Self::Written => Ok(vec![DONE; appends.len()]),
            Self::SecondConflicts => Ok(vec![DONE, CONFLICT]),
            Self::Contended => Err(BatchError::Contended(unavailable("contended"))),
            Self::Rejected => Err(BatchError::Rejected(unavailable("rejected"))),
            Self::Unknown => Err(BatchError::Final(AppendError::OutcomeUnknown)),
        }
    }
}

const DONE: Outcome = Ok(Appended { version: Version(1), position: Position::START });
const CONFLICT: Outcome = Err(AppendError::Conflict { actual: Version(7) });

fn unavailable(why: &str) -> AppendError {
    StoreError::unavailable(why).into()
}

/// Records the batches, by the streams of their appends.
struct ScriptedLog {
    answers: VecDeque<Answer>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl ScriptedLog {
    fn new(answers: &[Answer]) -> Self {
        Self { answers: answers.iter().copied().collect(), seen: Arc::default() }
    }

    fn record(&self, what: String) {
        self.seen.lock().expect("no panic").push(what);
    }
}

impl CommitBatch for ScriptedLog {
    async fn commit(&mut self, appends: &[Append]) -> Result<Vec<Outcome>, BatchError> {
        self.record(appends.iter().map(|append| append.stream.id.as_str()).collect());
        self.answers.pop_front().unwrap_or(Answer::Written).to(appends)
    }

    async fn forget_claims_before(&mut self, before: i64) -> Result<u64, StoreError> {
        self.record("forget".to_owned());
        Ok(before.unsigned_abs())
    }

    async fn close(self) {
        self.record("close".to_owned());
    }
}

#[tokio::test]
async fn each_append_of_a_failed_batch_gets_the_result_that_it_would_get_alone() {
    use Answer::{Contended, Rejected, SecondConflicts, Unknown, Written};
    let no = |why| Err(unavailable(why));
    let lost = || Err(AppendError::OutcomeUnknown);
    let table: [(&[Answer], &[&str], [Outcome; 2]); 9] = [
        (&[Written], &["ab"], [DONE, DONE]),
        (&[SecondConflicts], &["ab"], [DONE, CONFLICT]),
        (&[Contended, Written], &["ab", "ab"], [DONE, DONE]),
        (&[Contended, Contended, Written], &["ab", "ab", "ab"], [DONE, DONE]),
        (
            &[Contended, Contended, Contended, Written, Rejected],
            &["ab", "ab", "ab", "a", "b"],
            [DONE, no("rejected")],
        ),
        (
            &[Contended, Contended, Contended, Contended, Contended, Contended],
            &["ab", "ab", "ab", "a", "a", "a", "b"],
            [no("contended"), DONE],
        ),
        (&[Rejected, Rejected, Written], &["ab", "a", "b"], [no("rejected"), DONE]),
        (&[Rejected, Unknown, Written], &["ab", "a", "b"], [lost(), DONE]),
        (&[Unknown], &["ab"], [lost(), lost()]),
    ];
    for (number, (answers, batches, outcomes)) in table.into_iter().enumerate() {
        let mut log = ScriptedLog::new(answers);
        let both = [append("a", 1, &[]), append("b", 1, &[])];
        assert_eq!(commit(&mut log, &both).await, outcomes, "{number}");
        assert_eq!(*log.seen.lock().expect("no panic"), batches, "{number}");
    }
}

#[tokio::test]
async fn a_single_append_is_tried_again_only_while_it_is_contended() {
    for (answers, tries, outcome) in [
        (Answer::Rejected, 1, unavailable("rejected")),
        (Answer::Contended, 3, unavailable("contended")),
        (Answer::Unknown, 1, AppendError::OutcomeUnknown),
    ] {
        let mut log = ScriptedLog::new(&[answers; 9]);
        assert_eq!(commit(&mut log, &[append("a", 1, &[])]).await, [Err(outcome)]);
        assert_eq!(log.seen.lock().expect("no panic").len(), tries);
    }
}

#[tokio::test]
async fn what_queued_meanwhile_shares_a_commit_and_a_close_comes_after_it() {
    let log = ScriptedLog::new(&[]);
    let seen = Arc::clone(&log.seen);
    let handle = spawn(log);
    let sent = ["a", "b", "a"].map(|stream| append(stream, 1, &[]));
    // The task runs only once this one waits, so all three are queued by then.
    let outcomes = join_all(sent.map(|append| handle.append(append))).await;
    assert_eq!(outcomes, [DONE, DONE, DONE]);
    assert_eq!(handle.forget_claims_before(5).await, Ok(5));
    let (closed, late) = tokio::join!(handle.close(), handle.append(append("c", 1, &[])));
    assert_eq!(*seen.lock().expect("no panic"), ["ab", "a", "forget", "close"]);
    assert_eq!((closed, late), ((), Err(AppendError::OutcomeUnknown)));
    assert_eq!(
        handle.append(append("d", 1, &[])).await,
        Err(StoreError::fatal("the writer is gone").into())
    );
    handle.close().await;
}

#[tokio::test]
async fn an_append_without_events_is_refused() {
    let handle = spawn(ScriptedLog::new(&[]));
    assert!(matches!(handle.append(append("a", 0, &[])).await, Err(AppendError::Store(_))));
}
