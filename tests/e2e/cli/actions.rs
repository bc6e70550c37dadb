//! refresh, retry, pause, resume, protect, release, adopt, decide, cancel.

use super::{LOCAL, file, start, thing};
use crate::harness::text;

#[tokio::test(flavor = "multi_thread")]
async fn entities_are_looked_at_held_and_let_go() {
    let (setup, server, cli) = start(LOCAL).await;
    cli.file("m.yaml", &[file("a", "one"), file("b", "one")].join("---\n"));
    cli.ok("apply -f m.yaml --wait").await;

    std::fs::write(setup.managed().join("a.txt"), "by hand").unwrap();
    assert_eq!(cli.ok("refresh file/a --wait").await, "local.file/a refreshing\n");
    assert_eq!(cli.ok("pause file/a --reason holiday --change T-7").await, "local.file/a paused\n");
    cli.ok("wait file/a --for paused").await;
    let id = text(&cli.run("get file/a -o json").await.json()["id"]);
    let events = server.client.get(&format!("/v1/entities/{id}/events?page_size=1000")).await.body;
    let paused = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["type"] == "entity.paused")
        .unwrap()
        .clone();
    assert_eq!(paused["reason"], "holiday");
    cli.ok("resume -l app=site --yes").await;
    cli.ok("wait -l app=site --for paused=false").await;

    let said = cli.run("protect -l app=site --yes").await;
    assert_eq!((said.lines().len(), said.err.trim()), (2, "2 protected"));
    assert!(cli.fails("delete file/a", 4).await.contains("protect --off"));
    cli.ok("protect --off file/a file/b").await;
    assert_eq!(cli.ok("release file/b").await, "local.file/b released\n");
    assert!(setup.managed().join("b.txt").exists());
    cli.fails("release file/b", 3).await;
    cli.ok("delete file/a --wait").await;
    assert!(cli.ok("history file/a").await.contains("deleted"), "what was deleted is forgotten");
    assert!(cli.ok("describe file/b").await.contains("released"));
    let said = cli.run("refresh file/a file/b").await;
    assert_eq!(said.code, 3);
    assert_eq!(said.err.lines().count(), 2, "{said:#?}");
    for verb in ["refresh", "retry", "pause", "resume", "release", "protect"] {
        cli.fails(verb, 2).await;
        cli.fails(&format!("{verb} -A"), 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_or_asks_goes_on() {
    let (setup, _server, cli) = start(LOCAL).await;
    std::fs::create_dir_all(setup.managed()).unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(setup.managed().join(format!("{name}.txt")), "was here").unwrap();
    }
    let documents = [
        file("a", "one"),
        file("b", "one"),
        file("c", "one"),
        thing("once", "{_fake: {fail: {create: invalid}, times: 1}}"),
    ];
    cli.file("m.yaml", &documents.join("---\n"));
    let said = cli.run("apply -f m.yaml --wait").await;
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.err.contains("local.file/a: it waits for a decision"), "{said:#?}");
    assert!(cli.fails("wait file/a", 4).await.contains("stateward decide"));

    assert_eq!(cli.ok("adopt file/a a.txt --wait").await, "local.file/a adopting\n");
    cli.ok("wait file/a --for synced").await;
    assert_eq!(std::fs::read_to_string(setup.managed().join("a.txt")).unwrap(), "one");
    assert_eq!(cli.ok("decide file/b adopt b.txt --wait").await, "local.file/b decided\n");
    cli.ok("wait file/b --for synced").await;
    assert_eq!(std::fs::read_to_string(setup.managed().join("b.txt")).unwrap(), "one");
    cli.ok("decide file/c give-up").await;
    cli.ok("wait file/c --for erred").await;
    assert_eq!(cli.run("decide file/c adopt").await.code, 2, "adopt needs an object");
    cli.fails("decide file/b create", 4).await;

    assert_eq!(cli.ok("retry thing/once --wait").await, "fake.thing/once retrying\n");
    cli.ok("wait thing/once").await;
    cli.fails("retry thing/once", 4).await;

    cli.ok("backends pause sandbox").await;
    cli.file("t.yaml", &thing("t", "{}"));
    let said = cli.run("apply -f t.yaml -o json").await.json();
    let operation = text(&said["operation"]["id"]);
    assert_eq!(cli.ok("cancel thing/t").await, "fake.thing/t cancelled\n");
    let shown = cli.run(&format!("operations {operation} -o json")).await.json();
    assert_eq!(shown["state"], "cancelled");
    cli.fails(&format!("cancel {operation}"), 4).await;
    cli.ok("backends resume sandbox").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_entity_is_changed_and_its_kind_s_verbs_are_done() {
    let (setup, _server, cli) = start(LOCAL).await;
    let manifests = [file("a", "one"), thing("t", "{size: 1, tags: {a: x, b: y}, immutable: 1}")];
    cli.file("m.yaml", &manifests.join("---\n"));
    cli.ok("apply -f m.yaml --wait").await;

    assert_eq!(
        cli.ok("set thing/t size=2 tags.a=z tags.b=null --wait").await,
        "fake.thing/t changing\n"
    );
    let shown = cli.run("get thing/t -o json").await.json();
    let expected = serde_json::json!({ "size": 2, "tags": { "a": "z" }, "immutable": 1 });
    assert_eq!(shown["desired"], expected);
    assert_eq!(shown["observed"]["attributes"]["size"], 2);
    cli.ok("set file/a content=two --wait").await;
    assert_eq!(std::fs::read_to_string(setup.managed().join("a.txt")).unwrap(), "two");

    let before = text(&shown["observed"]["external_id"]);
    let line = cli.fails("set thing/t immutable=2", 1).await;
    assert!(line.contains("--replace"), "{line}");
    cli.ok("set thing/t immutable=2 --replace --wait").await;
    let after = cli.run("get thing/t -o json").await.json();
    assert_ne!(text(&after["observed"]["external_id"]), before, "another one took its place");

    cli.fails("set thing/t size", 2).await;
    assert_eq!(cli.run("set thing/t").await.code, 2, "there is nothing to set");
    cli.fails("set thing/none size=1", 3).await;
    cli.ok("run thing/t poke --wait").await;
    cli.fails("run thing/t levitate", 3).await;
}
