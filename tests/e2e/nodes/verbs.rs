//! Verbs of stores that several processes share.

use serde_json::json;

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

/// There and back: the log is the same one, and acts on nothing before a person lets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_moves_to_a_database_and_back_with_its_ids_and_hashes() {
    let Some(database) = Database::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::embedded("");
    let mut server = setup.start().await;
    for number in 0..5 {
        server.client.thing(&format!("t{number}"), json!({ "size": number })).await;
    }
    let shell = cli(folder.path(), &server.client.url, &server.client.token);
    let checkpoint = shell.ok("audit checkpoint").await;
    let data = setup.data();
    let to = format!("log copy --from sqlite:{} --to {}", data.display(), database.owner_url());
    let refused = shell.run(&to).await;
    assert_eq!(refused.code, 1, "a log that a server has open is not copied");
    assert!(server.terminate().await.success());
    let checkpoint = shell.file("checkpoint.json", &checkpoint);
    let copied = shell.ok(&to).await;
    assert!(copied.contains("were copied and verified"), "{copied}");

    let node = Setup::sharing(&database, "", None);
    let mut server = node.start().await;
    let shell = cli(folder.path(), &server.client.url, &server.client.token);
    let ready = server.client.get("/readyz").await.body;
    assert_eq!(ready["observe_only"], true, "{ready:#}");
    let listed = shell.ok("nodes").await;
    assert!(listed.contains("OBSERVE-ONLY") && listed.contains("restore hold"), "{listed}");
    let verified = shell.run(&format!("audit verify --against {checkpoint}")).await;
    assert_eq!(verified.code, 0, "{verified:#?}");
    assert_eq!(shell.ok("get fake.thing -o name").await.lines().count(), 5);
    assert!(server.terminate().await.success());

    let back = folder.path().join("back");
    let to = format!("log copy --from {} --to sqlite:{}", database.owner_url(), back.display());
    // Killed half-way: what it read stays beside the directory, and the next one goes on.
    let mut killed = shell.command(&to.split(' ').collect::<Vec<_>>());
    let killed = killed.env("FAILPOINTS", "store::copy::page=return").output().await.unwrap();
    assert_eq!(killed.status.code(), None, "{killed:?}");
    let left = folder.path().join("back.copy");
    assert!(left.metadata().unwrap().len() > 0 && !back.exists());
    shell.ok(&to).await;
    assert!(!left.exists() && back.exists());
    let verified =
        format!("audit verify --offline --data {} --against {checkpoint}", back.display());
    assert_eq!(shell.run(&verified).await.code, 0);
    // Repeated: the target is complete, and the source stays closed.
    shell.fails(&to, 1).await;
    let refused = crate::harness::refused(node.command()).await;
    assert_eq!(refused.0, Some(1));
    assert!(refused.1.join("\n").contains("moved elsewhere"), "{:?}", refused.1);
    let url = database.owner_url();
    shell.fails(&format!("log copy --from {url} --to {url}"), 1).await;
    // A person who knows better opens it again.
    shell.fails("log reopen --store sqlite:back", 1).await;
    shell.ok(&format!("log reopen --store {url}")).await;
    node.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_imported_into_a_migrated_database() {
    let Some(database) = Database::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::embedded("");
    let server = setup.start().await;
    server.client.thing("kept", json!({ "size": 1 })).await;
    let shell = cli(folder.path(), &server.client.url, &server.client.token);
    shell.ok("audit export -o log.jsonl").await;
    let url = database.owner_url();
    let imported = shell.ok(&format!("audit import log.jsonl --store {url}")).await;
    assert!(imported.contains("are in the database"), "{imported}");
    shell.fails(&format!("audit import log.jsonl --store {url}"), 1).await;
    let node = Setup::sharing(&database, "", None);
    let server = node.start().await;
    let listed = server.client.get("/v1/entities").await.body;
    assert_eq!(listed["items"][0]["name"], "kept");
    assert_eq!(server.client.get("/readyz").await.body["observe_only"], true);
}
