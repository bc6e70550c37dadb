//! Verbs of stores that several processes share.

use super::Nodes;
use crate::cli::Cli;
use crate::harness::{Database, Setup};

fn cli(folder: &std::path::Path, url: &str, token: &str) -> Cli {
    Cli::new(folder).with("STATEWARD_SERVER", url).with("STATEWARD_TOKEN", token)
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_says_what_it_did_and_what_it_cannot_do() {
    let Some(database) = Database::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path());
    let url = database.owner_url();
    let once = cli.ok(&format!("migrate --url {url} --role stateward")).await;
    let again = cli.ok(&format!("migrate --url {url}")).await;
    assert_eq!(once, again, "repeated");
    assert!(once.contains("has version"), "{once}");
    for (arguments, line) in [
        ("migrate", "nothing to migrate"),
        ("migrate --url sqlite:x", "nothing to migrate"),
        ("migrate --url mysql://h/d", "use sqlite:"),
        ("migrate --url postgres://u:hidden@127.0.0.1:1/d", "no primary of the database d"),
    ] {
        let run = cli.run(arguments).await;
        assert_eq!(run.code, 1, "{arguments}");
        assert!(run.err.contains(line) && !run.err.contains("hidden"), "{arguments}: {}", run.err);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_lists_the_processes_also_the_only_one() {
    let Some(nodes) = Nodes::start(2).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let shell = cli(folder.path(), &nodes.client(1).url, super::TOKEN);
    let list = shell.ok("nodes").await;
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.starts_with("NAME") && list.contains(" all "), "{list}");
    let wide = shell.ok("nodes -o wide").await;
    assert!(wide.lines().next().unwrap().ends_with("ID"), "{wide}");

    let alone = Setup::new("");
    let server = alone.start().await;
    let shell = cli(folder.path(), &server.client.url, &server.client.token);
    assert_eq!(shell.ok("nodes -o name").await.lines().count(), 1);
}
