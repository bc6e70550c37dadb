//! `examples/cqrs-es-reader` as a program, and the recipe that shows a part of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::harness::Database;
use crate::lives::served;

/// A program of this workspace, which `make test-interop` built before.
pub(crate) fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.parent().and_then(Path::parent).expect("the target's folder");
    folder.join(name)
}

/// Runs a program of this workspace to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(binary(name))
        .args(arguments)
        .env_remove("DATABASE_URL")
        .output()
        .expect("the binary starts")
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_and_the_recipe_print_entities() {
    let Some(database) = Database::shared() else { return };
    let (_setup, server) = served(&database, "[backends.sandbox]\ndriver = \"fake\"\n").await;
    let id = server.client.thing("shown", json!({ "size": 1 })).await;
    let url = database.owner_url();

    let printed = run("cqrs-es-reader", &[&url]);
    assert!(printed.status.success(), "{printed:?}");
    let found = lines(&printed.stdout);
    let [line] = &found[..] else { panic!("{found:?}") };
    assert!(
        line.starts_with(&format!("{id} default/fake.thing/shown ok generation 1 of ")),
        "{line}"
    );

    let printed = run("one-entity", &[&url, &id]);
    assert!(printed.status.success(), "{printed:?}");
    assert_eq!(lines(&printed.stdout), ["fake.thing/shown is ok"]);
}

#[test]
fn the_recipe_shows_the_code_that_runs() {
    let recipe = include_str!("../../../../../docs/recipes/read-with-cqrs-es.md");
    let code = include_str!("../../../../../examples/cqrs-es-reader/src/bin/one-entity.rs");
    let between = |text: &'static str, begin: &str, end: &str| {
        let (_, rest) = text.split_once(begin).expect("the beginning");
        rest.split_once(end).expect("the end").0.trim()
    };
    let shown = between(recipe, "```rust\n", "```");
    assert_eq!(shown, between(code, "// recipe: begin\n", "// recipe: end"));
    let statements = shown.lines().filter(|line| line.len() > 1).count();
    assert!(statements <= 22, "{statements} lines");
}
