//! get, describe, history, events, operations, watch, wait, explain.

use serde_json::Value;

use super::{Cli, LOCAL, file, start, thing};
use crate::harness::{Setup, text};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_shown_in_every_form() {
    let (_setup, _server, cli) = start("[namespaces.physics]\n").await;
    let elsewhere = file("a", "x").replace("a.txt", "p.txt") + "namespace: physics\n";
    cli.file("m.yaml", &[file("a", "one"), thing("t", "{size: 1}"), elsewhere].join("---\n"));
    cli.ok("apply -f m.yaml --wait --reason because").await;

    let table = cli.ok("get").await;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "STATE", "SYNCED", "DRIFTED", "AGE"]);
    assert!(
        lines[1..].iter().any(|row| row[..4] == ["local.file/a", "ok", "yes", "no"]),
        "{table}"
    );
    assert_eq!(lines.len(), 3, "another namespace is shown: {table}");
    assert!(cli.ok("get -A").await.contains("physics"));
    assert!(cli.ok("get file/a -n physics -o wide").await.contains("p.txt"));
    assert!(cli.ok("get -o wide").await.contains("EXTERNAL-ID"));
    assert_eq!(cli.ok("get thing -o name").await, "fake.thing/t\n");
    assert_eq!(
        cli.ok("get -l app=site --backend local --state ok -o name").await,
        "local.file/a\n"
    );
    assert_eq!(cli.ok("get --drifted -o name").await, "");
    let list = cli.run("get -o json").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let one = cli.run("get local.file/a -o json").await.json();
    assert_eq!((&one["kind"], &one["desired"]["content"]), (&"local.file".into(), &"one".into()));
    assert!(cli.ok("get file/a -o yaml").await.contains("content: one"));
    let id = text(&one["id"]);
    assert_eq!(cli.run(&format!("get {id} -o json")).await.json(), one);
    assert!(cli.ok("get --color always").await.contains("\u{1b}["));

    let page = cli.ok("describe file/a").await;
    for part in ["State:        ok", "Conditions:", "Observed:", "create requested", "because"] {
        assert!(page.contains(part), "nothing of {part}: {page}");
    }
    let history = cli.ok("history file/a").await;
    assert!(
        history.lines().nth(1).unwrap().contains("admin") && history.contains("because"),
        "{history}"
    );
    let then = cli.run("history file/a --at 1 -o json").await.json();
    assert_eq!((&then["state"], &then["version"]), (&"creation_scheduled".into(), &1.into()));
    cli.fails("history file/a --at 99", 3).await;
    cli.fails("history file/a --at 10m", 3).await;
    cli.fails("history file/a --at yesterday", 2).await;

    let said = cli.run("events --type entity.create_requested -n default --limit 1 -o json").await;
    let events = said.json();
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    let position = text(&events["items"][0]["position"]);
    assert!(said.err.contains(&format!("--after {position}")), "{said:#?}");
    let rest = cli.run(&format!("events --after {position} --entity file/a -o json")).await.json();
    assert!(rest["items"].as_array().unwrap().iter().all(|e| text(&e["stream"]).ends_with(&id)));

    let operations = cli.run("operations -n physics -o json").await.json();
    assert_eq!(operations["items"].as_array().unwrap().len(), 1);
    let operation = cli.run("operations file/a -o json").await.json()["items"][0].clone();
    let shown = cli.run(&format!("operations {} -o json", text(&operation["id"]))).await.json();
    assert_eq!((&shown, &shown["state"]), (&operation, &"succeeded".into()));
    assert_eq!(cli.ok("operations --state failed -o name").await, "");
    assert!(cli.ok(&format!("operations {id}")).await.contains("create"));

    assert!(cli.ok("explain").await.contains("local.directory"));
    assert!(cli.ok("explain file").await.contains("identity,immutable"));
    assert!(cli.ok("explain local.file.mode").await.contains("octal"));
    assert!(cli.ok("explain file -o json").await.contains("$schema"));
    assert!(cli.fails("explain file.colour", 3).await.contains("no field colour"));
    assert!(cli.fails("get tape", 3).await.contains("no kind tape"));
    assert!(cli.fails("get file/none", 3).await.contains("in namespace default"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_shown_as_it_changes() {
    let (_setup, _server, cli) = start("").await;
    cli.file("a.yaml", &file("a", "one"));
    cli.ok("apply -f a.yaml --wait").await;
    let mut watched = cli.follow("watch file");
    let mut documents = cli.follow("watch file/a -o json");
    watched.line("NAME").await;
    watched.line("local.file/a").await;
    let before: Value = serde_json::from_str(&documents.line("local.file").await).unwrap();
    cli.file("b.yaml", &file("b", "new"));
    cli.ok("apply -f b.yaml --wait").await;
    let line = watched.line("local.file/b").await;
    let line = if line.contains(" ok ") { line } else { watched.line(" ok ").await };
    assert!(line.contains("local.file/b"), "{line}");
    cli.ok("pause file/a").await;
    let after: Value = serde_json::from_str(&documents.line("local.file").await).unwrap();
    assert!(after["version"].as_u64() > before["version"].as_u64(), "{after:#}");

    let position = text(&cli.run("events --limit 1 -o json").await.json()["items"][0]["position"]);
    let mut followed = cli.follow(&format!("events -f --after {position} --type entity.resumed"));
    cli.ok("resume file/a").await;
    assert!(followed.line("resumed").await.contains("admin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_end_when_it_is_so_or_cannot_be() {
    let (_setup, _server, cli) = start("").await;
    cli.file(
        "m.yaml",
        &[
            thing("slow", "{_fake: {pending_ms: 300}}"),
            thing("bad", "{_fake: {fail: {create: invalid}, times: 9}}"),
        ]
        .join("---\n"),
    );
    cli.ok("apply -f m.yaml").await;
    assert_eq!(cli.ok("wait thing/slow").await, "fake.thing/slow met\n");
    assert_eq!(cli.ok("wait thing/slow --for synced").await, "fake.thing/slow met\n");
    let line = cli.fails("wait thing/bad", 1).await;
    assert!(line.contains("it is erred"), "{line}");
    cli.ok("wait thing/bad --for erred").await;
    cli.ok("delete thing/slow").await;
    cli.ok("wait thing/slow --for deleted").await;
    cli.ok("wait thing/never --for deleted").await;
    cli.fails("wait thing/never", 3).await;
    cli.fails("wait", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_followed_without_a_gap() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup::new("");
    let start = async || {
        let command = setup.command_on(Some(&address.to_string()));
        setup.run(command).await.expect("ready")
    };
    let cli = Cli::new(setup.folder.path());
    let mut server = start().await;
    cli.ok("namespaces create n0").await;
    let first = cli.run("events --type access.namespace_declared -o json").await.json();
    let after = text(&first["items"][0]["position"]);
    let follow = format!("events -f --after {after} --type access.namespace_declared -o json");
    let mut followed = cli.follow(&follow);
    for round in 1..3 {
        cli.ok(&format!("namespaces create n{round}")).await;
        let event: Value = serde_json::from_str(&followed.line("{").await).unwrap();
        assert!(event["data"].to_string().contains(&format!("n{round}")), "{event:#}");
        assert!(server.terminate().await.success());
        server = start().await;
    }
}

/// Words that differ from run to run, by their shape.
fn stable(page: &str) -> String {
    let word = |word: &str| match word {
        _ if word.len() == 36 && word.matches('-').count() == 4 => "ID".to_owned(),
        _ if word.len() >= 20 && word.starts_with("20") && word.ends_with('Z') => "TIME".to_owned(),
        _ if word.ends_with('s') && word[..word.len() - 1].parse::<u8>().is_ok() => {
            "AGE".to_owned()
        }
        _ => word.to_owned(),
    };
    let line = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut words: Vec<_> = line.split_whitespace().map(word).collect();
        // Files belong to the user of the test.
        if let [name, value] = &mut words[..]
            && ["uid:", "gid:", "owner:", "group:"].contains(&name.as_str())
        {
            "OURS".clone_into(value);
        }
        format!("{indent}{}", words.join(" "))
    };
    page.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_thing_looks_like_this() {
    let (_setup, _server, cli) = start(LOCAL).await;
    cli.file("a.yaml", &file("a", "one"));
    cli.ok("apply -f a.yaml --wait --reason because").await;
    let mut pages = Vec::new();
    for line in
        ["get", "describe file/a", "history file/a", "explain file", "backends", "namespaces"]
    {
        pages.push(format!("$ stateward {line}\n{}\n", stable(&cli.ok(line).await)));
    }
    insta::assert_snapshot!(pages.join("\n"));
}
