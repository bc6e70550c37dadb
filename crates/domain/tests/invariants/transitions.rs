//! Every change of an entity's state in random histories is a row of `docs/state-machines.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use stateward_domain::entity::Entity;
use stateward_domain::entity::event::{EntityEvent, Next};
use stateward_domain::entity::state::{AttemptStep, Decision};

use super::half_a_replacement;
use crate::lifecycle::Lifecycle;
use crate::moves;

/// Enough that each row is reached; the histories are the same in every run.
const HISTORIES: usize = 400;

/// Rows of the page by event: step or next, states before, states after.
type Rows = BTreeMap<String, Vec<[BTreeSet<String>; 3]>>;

#[test]
fn every_change_of_state_is_a_row_of_the_page() {
    let rows = rows();
    let mut runner = TestRunner::deterministic();
    let mut changes = 0;
    for number in 0..HISTORIES {
        let moves = vec(moves::any_move(), 1..60).new_tree(&mut runner).unwrap().current();
        let mut lifecycle = Lifecycle::default();
        let first = if number % 4 == 0 { half_a_replacement() } else { Vec::new() };
        for (turn, one) in first.iter().chain(&moves).enumerate() {
            lifecycle.play(one, turn);
        }
        let mut entity = Entity::default();
        for event in &lifecycle.events {
            let before = entity.state;
            entity.evolve(event);
            if entity.state != before {
                changes += 1;
                let (before, after) = (before.name(), entity.state.name());
                let (name, detail) = (event.name(), detail(event));
                let listed = rows.get(name).is_some_and(|rows| {
                    rows.iter().any(|[details, from, to]| {
                        (details.is_empty() || details.contains(detail))
                            && from.contains(before)
                            && to.contains(after)
                    })
                });
                assert!(listed, "no row: {name} ({detail}) of {before} makes {after}");
            }
        }
    }
    assert!(changes > HISTORIES, "only {changes} changes of state");
}

/// What the second column names.
fn detail(event: &EntityEvent) -> &'static str {
    match event {
        EntityEvent::SyncStarted { step, .. } | EntityEvent::SyncCompleted { step, .. } => {
            match step {
                AttemptStep::None => "none",
                AttemptStep::Create => "create",
                AttemptStep::Update { .. } => "update",
                AttemptStep::Replace { .. } => "replace",
                AttemptStep::Delete => "delete",
                AttemptStep::Action { .. } => "action",
                AttemptStep::CleanUp { .. } => "clean_up",
            }
        }
        EntityEvent::SyncFailed { next, .. } => match next {
            Next::Retry { .. } => "retry",
            Next::Blocked { .. } => "blocked",
            Next::Erred => "erred",
        },
        EntityEvent::DecisionTaken { decision, .. } => match decision {
            Decision::Adopt(_) => "adopt",
            Decision::Create => "create",
            Decision::GiveUp => "give_up",
        },
        _ => "",
    }
}

fn rows() -> Rows {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/state-machines.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("<!-- transitions").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut rows = Rows::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').skip(1).map(words).collect();
        let [event, detail, before, after, ..] = &cells[..] else { panic!("too short: {line}") };
        for name in event {
            let row = [detail.clone(), before.clone(), after.clone()];
            rows.entry(format!("entity.{name}")).or_default().push(row);
        }
    }
    rows
}

/// The code spans of a cell.
fn words(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
