//! Actions as lines of a table.

use std::fmt::Write;

use super::*;

/// An action on one line: what it records and what follows.
pub(super) fn shown(action: &Action) -> String {
    match action {
        Action::Wait(requeue) => wait(*requeue),
        Action::Start(start) => started(start),
        Action::Complete { completion, requeue } => {
            let mut line = format!("complete {}", step(&completion.step));
            if let Some(attempt) = completion.attempt {
                let _ = write!(line, " attempt {attempt}");
            }
            after_all(&mut line, completion.takes_over, completion.operations.len());
            let observed = &completion.observed;
            let _ = write!(line, " {:?}@{}", observed.presence, observed.generation);
            if !completion.diff.is_empty() {
                line.push_str(" differs");
            }
            if let Some(requeue) = requeue {
                let _ = write!(line, ", {}", wait(*requeue));
            }
            line
        }
        Action::Fail(report) => failed(report),
        Action::Observe { report, recorded, unchanged } => {
            let differs = if report.diff.is_empty() { "" } else { " differs" };
            let observed = &report.observed;
            let seen = format!("{:?}@{}{differs}", observed.presence, observed.generation);
            let proved = if report.in_sync { " in sync" } else { "" };
            format!("observe {seen}{proved} then {} else {}", wait(*recorded), shown(unchanged))
        }
        Action::Record { report, then } => {
            let differs = if report.diff.is_empty() { "" } else { " differs" };
            let observed = &report.observed;
            let seen = format!("{:?}@{}{differs}", observed.presence, observed.generation);
            format!("record {seen}, {}", shown(then))
        }
        Action::RecordLoss(report) => {
            format!("loss {:?} {:?}", report.observed.presence, report.on_lost)
        }
    }
}

fn started(start: &Start) -> String {
    let Intent::Start { takes_over, generation, step: intended, was_present, found, operations } =
        &start.intent
    else {
        return format!("{:?}", start.intent);
    };
    assert_eq!(intended, &start.step, "what is recorded is what is done");
    let mut line = format!("start {}@{generation}", step(&start.step));
    after_all(&mut line, *takes_over, operations.len());
    if let Some(object) = &start.object {
        let _ = write!(line, " on {object}");
        assert_eq!(found.as_ref().is_some_and(|found| found == object), *was_present, "{line}");
    }
    if let Some(spec) = &start.spec {
        let _ = write!(line, " with {spec}");
    }
    if start.search_first {
        line.push_str(" after a search");
    }
    line
}

fn failed(report: &FailureReport) -> String {
    let mut line = format!("fail {}", report.error.code);
    if let Some(attempt) = report.attempt {
        let _ = write!(line, " attempt {attempt}");
    }
    after_all(&mut line, report.takes_over, 0);
    if report.action.is_some() {
        line.push_str(" action");
    }
    if !report.remaining.is_empty() {
        let _ = write!(line, " left {}", report.remaining.join(","));
    }
    let at = |at: Timestamp| match at {
        Timestamp::NEVER => "never".to_owned(),
        at => format!("{:?}", at.since(NOW)),
    };
    match &report.next {
        Next::Retry { at: due } => format!("{line}, retry in {}", at(*due)),
        Next::Erred => format!("{line}, erred"),
        Next::Blocked { on, check_at } => {
            let on = match on {
                BlockedOn::Reference(target) => format!("Reference({target})"),
                other => format!("{other:?}"),
            };
            format!("{line}, blocked on {on} until {}", at(*check_at))
        }
    }
}

fn after_all(line: &mut String, takes_over: Option<Attempt>, operations: usize) {
    if let Some(attempt) = takes_over {
        let _ = write!(line, " over {attempt}");
    }
    if operations > 0 {
        let _ = write!(line, " for {operations}");
    }
}

fn step(step: &AttemptStep) -> String {
    match step {
        AttemptStep::None => "none".to_owned(),
        AttemptStep::Create => "create".to_owned(),
        AttemptStep::Update { fields } => format!("update {}", fields.join(",")),
        AttemptStep::Replace { fields } => format!("replace {}", fields.join(",")),
        AttemptStep::Delete => "delete".to_owned(),
        AttemptStep::Action { .. } => "action".to_owned(),
        AttemptStep::CleanUp { external_id } => format!("clean up {external_id}"),
    }
}

pub(super) fn wait(requeue: Requeue) -> String {
    match requeue {
        Requeue::Now => "again".to_owned(),
        Requeue::After(pause) => format!("wait {pause:?}"),
        Requeue::OnChange => "await change".to_owned(),
    }
}
