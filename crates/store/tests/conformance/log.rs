//! The promises of the event log, one test each.

use std::time::Duration;

use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{AppendError, LogPage, ReadError};
use stateward_store::hash;

use crate::support::{LogSubject, append, key, log_subjects, share, stream, take};

#[tokio::test]
async fn an_empty_log_reads_as_such() {
    for LogSubject { name, log, .. } in log_subjects().await {
        assert_eq!(log.head().await, Ok(Position::START), "{name}");
        assert_eq!(log.read_log(Position::START, 10).await, Ok(LogPage::default()), "{name}");
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(0)), "{name}");
        assert_eq!(log.read_stream(&stream("a"), Version(0), 10).await, Ok(Vec::new()), "{name}");
    }
}

#[tokio::test]
async fn what_was_appended_comes_back_byte_by_byte() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let sent = append("a", 0, 1, 3, vec![]);
        let appended = log.append(sent.clone()).await.unwrap();
        assert_eq!(appended.version, Version(3), "{name}");
        let read = log.read_stream(&stream("a"), Version(0), 10).await.unwrap();
        assert_eq!(read.len(), 3, "{name}");
        for (read, sent) in read.iter().zip(&sent.events) {
            assert_eq!(read.id, sent.id, "{name}");
            assert_eq!(read.event_type, sent.event_type, "{name}");
            assert_eq!(read.schema_version, sent.schema_version, "{name}");
            assert_eq!(read.payload, sent.payload, "{name}");
            assert_eq!(read.metadata, sent.metadata, "{name}");
        }
        assert_eq!(read.last().unwrap().position, appended.position, "{name}");
        assert_eq!(log.read_stream(&stream("a"), Version(1), 1).await.unwrap(), read[1..2]);
    }
}

#[tokio::test]
async fn another_version_than_expected_conflicts_and_writes_nothing() {
    for LogSubject { name, log, .. } in log_subjects().await {
        log.append(append("a", 0, 1, 2, vec![])).await.unwrap();
        for expected in [0, 1, 3] {
            let outcome = log.append(append("a", expected, 10, 1, vec![take("k")])).await;
            let conflict = AppendError::Conflict { actual: Version(2) };
            assert_eq!(outcome, Err(conflict), "{name} {expected}");
        }
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(2)), "{name}");
        assert_eq!(log.holder(&key("k")).await, Ok(None), "{name}");
    }
}

#[tokio::test]
async fn a_repeated_append_answers_as_the_first_time() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let sent = append("a", 0, 1, 2, vec![take("k")]);
        let first = log.append(sent.clone()).await.unwrap();
        assert_eq!(log.append(sent.clone()).await, Ok(first), "{name}");
        log.append(append("a", 2, 5, 1, vec![])).await.unwrap();
        assert_eq!(log.append(sent).await, Ok(first), "{name}: also when the stream moved on");
        assert_eq!(log.head_of(&stream("a")).await, Ok(Version(3)), "{name}");
    }
}

#[tokio::test]
async fn a_claim_has_one_holder() {
    for LogSubject { name, log, .. } in log_subjects().await {
        log.append(append("a", 0, 1, 1, vec![take("k")])).await.unwrap();
        let holder = log.holder(&key("k")).await.unwrap().unwrap();
        assert_eq!((&holder.stream, holder.version), (&stream("a"), Version(1)), "{name}");
        let outcome = log.append(append("b", 0, 2, 1, vec![take("j"), take("k")])).await;
        let taken = AppendError::ClaimTaken { key: key("k"), holder };
        assert_eq!(outcome, Err(taken), "{name}");
        assert_eq!(log.head_of(&stream("b")).await, Ok(Version(0)), "{name}");
        assert_eq!(log.holder(&key("j")).await, Ok(None), "{name}: nothing of it was written");
        log.append(append("a", 1, 3, 1, vec![take("k")])).await.expect("its own it may take again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_sees_a_claim_sees_its_event() {
    for LogSubject { name, log, .. } in log_subjects().await {
        for round in 0_u32..200 {
            let (a, k) = (format!("a{round}"), format!("k{round}"));
            let sent = append(&a, 0, 1 + u128::from(round), 1, vec![take(&k)]);
            let appending = tokio::spawn({
                let log = log.clone();
                async move { log.append(sent).await.unwrap() }
            });
            let holder = loop {
                if let Some(holder) = log.holder(&key(&k)).await.unwrap() {
                    break holder;
                }
                tokio::task::yield_now().await;
            };
            let events = log.read_stream(&holder.stream, Version(0), 1).await.unwrap();
            assert_eq!(events.len(), 1, "{name} {round}");
            appending.await.unwrap();
        }
    }
}

#[tokio::test]
async fn only_the_holder_frees_a_claim() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let free = || vec![Claim::Free { key: key("k") }];
        log.append(append("a", 0, 1, 1, vec![take("k")])).await.unwrap();
        log.append(append("b", 0, 2, 1, free())).await.unwrap();
        assert!(log.holder(&key("k")).await.unwrap().is_some(), "{name}");
        log.append(append("a", 1, 3, 1, free())).await.unwrap();
        assert_eq!(log.holder(&key("k")).await, Ok(None), "{name}");
        log.append(append("b", 1, 4, 1, vec![take("k")])).await.expect("it is free");
    }
}

#[tokio::test]
async fn a_claim_has_the_version_of_the_event_that_takes_it() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let take = |text: &str, event| Claim::Take { key: key(text), value: String::new(), event };
        let claims = vec![take("first", 0), take("last", 2)];
        log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
        log.append(append("a", 1, 2, 3, claims)).await.unwrap();
        for (text, version) in [("first", 2), ("last", 4)] {
            let holder = log.holder(&key(text)).await.unwrap().unwrap();
            assert_eq!(holder.version, Version(version), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn a_shared_claim_is_refused_while_another_holds_it_and_takes_nothing() {
    for LogSubject { name, log, .. } in log_subjects().await {
        log.append(append("a", 0, 1, 1, vec![share("k")])).await.expect("it is free");
        log.append(append("b", 0, 2, 1, vec![share("k")])).await.expect("it is free");
        assert_eq!(log.holder(&key("k")).await, Ok(None), "{name}");
        log.append(append("a", 1, 3, 1, vec![take("k")])).await.unwrap();
        log.append(append("a", 2, 4, 1, vec![share("k")])).await.expect("it is its own");
        // A known stream and a new one, both in one commit with an unrelated append.
        for (stream, expected) in [("b", 1_u64), ("c", 0)] {
            let (id, mine) = (10 + u128::from(expected), format!("mine {expected}"));
            let lost = append(stream, expected, id, 1, vec![share("k"), take("other")]);
            let innocent = append(&format!("d{expected}"), 0, id + 100, 1, vec![take(&mine)]);
            let (lost, _) = tokio::join!(log.append(lost), log.append(innocent));
            let taken = matches!(&lost, Err(AppendError::ClaimTaken { key, holder })
                if key.0 == "k" && holder.stream.id == "a");
            assert!(taken, "{name} {stream}: {lost:?}");
            assert_eq!(log.holder(&key("other")).await, Ok(None), "{name}");
            assert!(log.holder(&key(&mine)).await.unwrap().is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn claims_are_listed_by_their_beginning_page_by_page() {
    for LogSubject { name, log, .. } in log_subjects().await {
        for (number, text) in ["k/a", "k/b", "k/ü", "j", "k", "l/a"].into_iter().enumerate() {
            let id = number as u128 + 1;
            log.append(append(&format!("s{number}"), 0, id, 1, vec![take(text)])).await.unwrap();
        }
        let first = log.held_under("k/", &key("k/"), 2).await.unwrap();
        assert_eq!(first, [(key("k/a"), stream("s0")), (key("k/b"), stream("s1"))], "{name}");
        let next = log.held_under("k/", &key("k/b"), 2).await.unwrap();
        assert_eq!(next, [(key("k/ü"), stream("s2"))], "{name}");
        assert_eq!(log.held_under("none", &key(""), 2).await, Ok(vec![]), "{name}");
    }
}

#[tokio::test]
async fn claims_of_appends_that_share_a_commit_are_each_their_own() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let all = |expected, claims: fn(String) -> Vec<Claim>| {
            let log = log.clone();
            let appends = (0..100_u128).map(move |number| {
                let id = u128::from(expected == 1) * 1_000 + number + 1;
                let claims = claims(format!("k{number}"));
                (log.clone(), append(&format!("s{number}"), expected, id, 1, claims))
            });
            futures_util::future::join_all(
                appends.map(|(log, append)| async move { log.append(append).await.unwrap() }),
            )
        };
        all(0, |key| vec![take(&key)]).await;
        for number in 0..100 {
            let holder = log.holder(&key(&format!("k{number}"))).await.unwrap().unwrap();
            assert_eq!(holder.stream, stream(&format!("s{number}")), "{name}");
        }
        all(1, |text| vec![Claim::Free { key: key(&text) }, take(&format!("new-{text}"))]).await;
        for number in 0..100 {
            assert_eq!(log.holder(&key(&format!("k{number}"))).await, Ok(None), "{name}");
            assert!(log.holder(&key(&format!("new-k{number}"))).await.unwrap().is_some(), "{name}");
        }
    }
}

#[tokio::test]
async fn only_old_idempotency_claims_are_forgotten() {
    for LogSubject { name, log, clock, .. } in log_subjects().await {
        let idempotent = format!("{}ns/actor/1", ClaimKey::IDEMPOTENCY);
        log.append(append("a", 0, 1, 1, vec![take(&idempotent), take("name/x")])).await.unwrap();
        let week = Duration::from_hours(7 * 24);
        clock.advance(week.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(log.forget_claims_older_than(week).await, Ok(0), "{name}");
        clock.advance(Duration::from_secs(2));
        assert_eq!(log.forget_claims_older_than(week).await, Ok(1), "{name}");
        assert!(log.holder(&key("name/x")).await.unwrap().is_some(), "{name}");
        assert_eq!(log.holder(&key(&idempotent)).await, Ok(None), "{name}");
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_forgets_no_idempotency_claim() {
    for LogSubject { name, log, clock, .. } in log_subjects().await {
        let idempotent = format!("{}ns/actor/1", ClaimKey::IDEMPOTENCY);
        log.append(append("a", 0, 1, 1, vec![take(&idempotent)])).await.unwrap();
        let (week, year) = (Duration::from_hours(7 * 24), Duration::from_hours(365 * 24));
        clock.set_forward(year);
        assert_eq!(log.forget_claims_older_than(week).await, Ok(0), "{name}");
        clock.set_back(year);
        assert_eq!(log.forget_claims_older_than(week).await, Ok(0), "{name}");
        clock.advance(week + Duration::from_secs(1));
        assert_eq!(log.forget_claims_older_than(week).await, Ok(1), "{name}: a week is a week");
    }
}

#[tokio::test]
async fn times_of_the_log_never_run_back() {
    for LogSubject { name, log, clock, .. } in log_subjects().await {
        for number in 0..6_u32 {
            log.append(append(&number.to_string(), 0, number.into(), 1, vec![])).await.unwrap();
            clock.advance(Duration::from_secs(1));
            match number {
                1 => clock.set_back(Duration::from_hours(3)),
                3 => clock.set_forward(Duration::from_hours(24)),
                4 => clock.set_back(Duration::from_hours(24)),
                _ => {}
            }
        }
        let read = log.read_log(Position::START, 10).await.unwrap().events;
        let times: Vec<i64> = read.iter().map(|event| event.recorded_at.0).collect();
        let passed: Vec<i64> =
            times.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
        // That day passed while the wall clock was three hours behind.
        assert_eq!(passed, [1, 1, 1, 21 * 3_600 + 1, 1], "{name}");
    }
}

#[tokio::test]
async fn times_of_a_stream_rise_even_when_the_clock_does_not() {
    for LogSubject { name, log, clock, .. } in log_subjects().await {
        log.append(append("a", 0, 1, 2, vec![])).await.unwrap();
        clock.set_back(Duration::from_mins(1));
        log.append(append("a", 2, 3, 2, vec![])).await.unwrap();
        let read = log.read_stream(&stream("a"), Version(0), 10).await.unwrap();
        let times: Vec<i64> = read.iter().map(|event| event.recorded_at.0).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {times:?}");
        assert_eq!(times[3] - times[0], 3, "{name}: a microsecond each");
    }
}

#[tokio::test]
async fn hashes_chain_each_stream_from_its_beginning() {
    for LogSubject { name, log, .. } in log_subjects().await {
        log.append(append("a", 0, 1, 2, vec![])).await.unwrap();
        log.append(append("b", 0, 3, 1, vec![])).await.unwrap();
        log.append(append("a", 2, 4, 1, vec![])).await.unwrap();
        for id in ["a", "b"] {
            let mut previous = hash::GENESIS;
            for event in log.read_stream(&stream(id), Version(0), 10).await.unwrap() {
                previous = hash::of_recorded(&previous, &event);
                assert_eq!(event.hash, previous, "{name} {id} {}", event.version);
            }
        }
    }
}

#[tokio::test]
async fn readers_see_every_event_once_and_in_order_while_others_write() {
    const STREAMS: u64 = 40;
    const EACH: u64 = 25;
    for LogSubject { name, log, .. } in log_subjects().await {
        let mut writers = tokio::task::JoinSet::new();
        for id in 0..STREAMS {
            let log = log.clone();
            writers.spawn(async move {
                for version in 0..EACH {
                    let sent = append(
                        &id.to_string(),
                        version,
                        u128::from(id * EACH + version + 1),
                        1,
                        vec![],
                    );
                    log.append(sent).await.unwrap();
                }
            });
        }
        let mut from = Position::START;
        let mut seen = Vec::new();
        while (seen.len() as u64) < STREAMS * EACH {
            log.changed_after(from).await;
            let page = log.read_log(from, 7).await.unwrap().events;
            let head = log.head().await.unwrap();
            assert!(page.iter().all(|event| event.position <= head), "{name}: beyond the head");
            for event in page {
                assert!(event.position > from, "{name}");
                from = event.position;
                seen.push(event);
            }
        }
        while let Some(ended) = writers.join_next().await {
            ended.unwrap();
        }
        let whole = log.read_log(Position::START, usize::MAX).await.unwrap().events;
        assert_eq!(seen, whole, "{name}: nothing was skipped, doubled or moved");
        for id in 0..STREAMS {
            let own = whole.iter().filter(|event| event.stream == stream(&id.to_string()));
            let versions: Vec<u64> = own.map(|event| event.version.0).collect();
            assert_eq!(versions, (1..=EACH).collect::<Vec<_>>(), "{name} {id}");
        }
    }
}

#[tokio::test]
async fn positions_of_another_log_or_ahead_of_this_one_are_gone() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let last = log.append(append("a", 0, 1, 2, vec![])).await.unwrap().position;
        let ahead = Position { minor: last.minor + 1, ..last };
        let elsewhere = Position { epoch: last.epoch.wrapping_add(1), ..last };
        for position in [ahead, elsewhere] {
            let gone = Err(ReadError::PositionGone { head: last });
            assert_eq!(log.read_log(position, 1).await, gone, "{name} {position}");
            let gone = Err(ReadError::PositionGone { head: last });
            assert_eq!(log.check(position).await, gone, "{name} {position}");
        }
        for position in [Position::START, last] {
            assert_eq!(log.check(position).await, Ok(()), "{name} {position}");
        }
        let page = LogPage::of(last, Vec::new());
        assert_eq!(log.read_log(last, 1).await, Ok(page), "{name}: nothing was read behind it");
    }
}

#[tokio::test]
async fn a_waiter_for_a_change_wakes_up() {
    for LogSubject { name, log, .. } in log_subjects().await {
        let head = log.append(append("a", 0, 1, 1, vec![])).await.unwrap().position;
        log.changed_after(Position::START).await;
        let waiter = tokio::spawn({
            let log = log.clone();
            async move { log.changed_after(head).await }
        });
        log.append(append("a", 1, 2, 1, vec![])).await.unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(10), waiter).await;
        assert!(woken.is_ok(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_nothing_that_the_head_does_not() {
    const EVENTS: u64 = 400;
    for LogSubject { name, log, .. } in log_subjects().await {
        let writer = tokio::spawn({
            let log = log.clone();
            async move {
                for version in 0..EVENTS {
                    log.append(append("1", version, u128::from(version) + 1, 1, vec![]))
                        .await
                        .unwrap();
                }
            }
        });
        let mut seen = 0;
        while seen < usize::try_from(EVENTS).unwrap() {
            let events = log.read_stream(&stream("1"), Version(0), usize::MAX).await.unwrap();
            let head = log.head().await.unwrap();
            assert!(events.iter().all(|event| event.position <= head), "{name}: beyond the head");
            assert!(
                log.read_log(events.last().map_or(Position::START, |e| e.position), 1)
                    .await
                    .is_ok()
            );
            seen = events.len();
        }
        writer.await.unwrap();
    }
}
