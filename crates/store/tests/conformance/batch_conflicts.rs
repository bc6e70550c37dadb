//! Conflicts within a batch: no append is written in part, and a conflicting append does not fail the others.

use futures_util::future::join_all;
use stateward_domain::id::Version;
use stateward_domain::ports::event_store::{AppendError, EventStore};
use stateward_store::memory::{InjectedFault, MemoryLog};

use crate::support::{LogSubject, ManualClock, append, key, log_subjects, stream, take};

#[tokio::test]
async fn two_appends_to_one_stream_at_once_both_decide_on_what_is_there() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let both = [append("a", 0, 1, 2, vec![]), append("a", 0, 11, 2, vec![])];
        let outcomes = join_all(both.map(|sent| log.append(sent))).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "{name}: {outcomes:?}");
        assert!(outcomes.contains(&Err(AppendError::Conflict { actual: Version(2) })), "{name}");
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(2)), "{name}");
    }
}

#[tokio::test]
async fn consecutive_appends_to_one_stream_at_once_are_all_written() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let both = [append("a", 0, 1, 2, vec![]), append("a", 2, 11, 2, vec![])];
        let outcomes = join_all(both.map(|sent| log.append(sent))).await;
        assert!(outcomes.iter().all(Result::is_ok), "{name}: {outcomes:?}");
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(4)), "{name}");
    }
}

#[tokio::test]
async fn a_lost_claim_takes_no_innocent_down() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let many = (0..20_u128).map(|number| {
            // Numbers 3, 10 and 17 take the same claim.
            let claim =
                if number % 7 == 3 { "contended".to_owned() } else { format!("own {number}") };
            append(&number.to_string(), 0, 1 + number * 3, 3, vec![take(&claim)])
        });
        let outcomes = join_all(many.map(|sent| log.append(sent))).await;
        let lost = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert_eq!(lost, 2, "{name}: {outcomes:?}");
        for (number, outcome) in outcomes.iter().enumerate() {
            let written = log.head_of(&stream(&number.to_string())).await.unwrap();
            assert_eq!(written, Version(if outcome.is_ok() { 3 } else { 0 }), "{name} {number}");
        }
        assert!(log.holder(&key("contended")).await.unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_conflict_in_the_middle_takes_no_innocent_down() {
    for LogSubject { name, log, .. } in log_subjects().await {
        log.append(append("2", 0, 900, 1, vec![])).await.unwrap();
        let many = (0..5_u128).map(|number| append(&number.to_string(), 0, 1 + number, 1, vec![]));
        let outcomes = join_all(many.map(|sent| log.append(sent))).await;
        for (number, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.is_err(), number == 2, "{name}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn the_same_event_twice_in_one_moment_is_written_once() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let sent = append("a", 0, 1, 2, vec![take("k")]);
        let outcomes = join_all([log.append(sent.clone()), log.append(sent)]).await;
        assert_eq!(outcomes[0], outcomes[1], "{name}");
        assert!(outcomes[0].is_ok(), "{name}");
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(2)), "{name}");
    }
}

#[tokio::test]
async fn an_event_id_that_another_stream_has_is_refused_alone() {
    for LogSubject { name, log, ids_are_unique, .. } in log_subjects().await {
        if !ids_are_unique {
            continue;
        }
        log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
        let both = [append("b", 0, 1, 1, vec![]), append("c", 0, 50, 1, vec![])];
        let outcomes = join_all(both.map(|sent| log.append(sent))).await;
        assert!(matches!(outcomes[0], Err(AppendError::Store(_))), "{name}: {outcomes:?}");
        assert!(outcomes[1].is_ok(), "{name}: {outcomes:?}");
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_known_after_the_same_append_again() {
    for (fault, already) in
        [(InjectedFault::UnknownWritten, true), (InjectedFault::UnknownLost, false)]
    {
        let log = MemoryLog::new(ManualClock::new());
        log.fail_next([fault]);
        let sent = append("a", 0, 1, 2, vec![take("k")]);
        assert_eq!(log.append(sent.clone()).await, Err(AppendError::OutcomeUnknown));
        assert_eq!(log.head_of(&stream("a")).await.unwrap() == Version(2), already);
        assert_eq!(log.append(sent).await.unwrap().version, Version(2));
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(2)));
    }
}
