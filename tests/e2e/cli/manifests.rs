//! Manifests by every path: what cannot be stored as written is refused, and nothing is cut or omitted silently.

use std::os::unix::fs::symlink;

use reqwest::Method;
use rustix::fs::{CWD, FileType, Mode};
use serde_json::json;

use super::{Cli, file, start, thing};
use crate::harness::{Client, Setup};

/// Numbers that 64-bit JSON values cannot represent, in the spelling of each path. The last ones exist in YAML alone.
const NO_NUMBERS: &[&str] =
    &["18446744073709551616", "-9223372036854775809", "1e400", "NaN", "-Infinity"];

async fn refused_by_rest(client: &Client, method: Method, path: &str, media: &str, body: String) {
    let request = client.request(method.clone(), path).header("Content-Type", media);
    let status = request.body(body.clone()).send().await.unwrap().status();
    assert!([400, 422].contains(&status.as_u16()), "{method} {path} {body}: {status}");
}

async fn refused_by_cli(cli: &Cli, number: &str) {
    let json =
        format!("{{\"kind\": \"fake.thing\", \"name\": \"x\", \"desired\": {{\"a\": {number}}}}}");
    let yaml = thing("x", &format!("{{a: {number}}}"));
    cli.file("m/x.json", &json);
    cli.file("n/x.yaml", &yaml);
    for path in ["m", "m/x.json", "n", "n/x.yaml"] {
        let said = cli.fails(&format!("apply -f {path}"), 2).await;
        assert!(said.contains("x.") && said.contains(':'), "no place: {said}");
    }
    for text in [json, yaml] {
        assert_eq!(cli.fed(&["apply", "-f", "-"], &text).await.code, 2, "{text}");
        assert_eq!(cli.fed(&["diff", "-f", "-"], &text).await.code, 2, "{text}");
    }
    for line in [format!("set thing/t a={number}"), format!("run thing/t poke a={number}")] {
        cli.fails(&line, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_cannot_be_kept_are_refused_on_every_road() {
    let (_setup, server, cli) = start("").await;
    let client = &server.client;
    let id = client.thing("t", json!({ "a": 1 })).await;
    let (whole, entity) = ("application/json", format!("/v1/entities/{id}"));
    for number in NO_NUMBERS {
        let desired = format!("{{\"desired\": {{\"a\": {number}}}}}");
        let manifest = format!(
            "{{\"kind\": \"fake.thing\", \"name\": \"x\", \"desired\": {{\"a\": {number}}}}}"
        );
        let step = format!("[{{\"op\": \"add\", \"path\": \"/desired/a\", \"value\": {number}}}]");
        refused_by_rest(client, Method::POST, "/v1/entities", whole, manifest).await;
        refused_by_rest(client, Method::PUT, &entity, whole, desired.clone()).await;
        refused_by_rest(client, Method::PATCH, &entity, "application/merge-patch+json", desired)
            .await;
        refused_by_rest(client, Method::PATCH, &entity, "application/json-patch+json", step).await;
        let action = format!("{entity}/actions/poke");
        refused_by_rest(client, Method::POST, &action, whole, format!("{{\"a\": {number}}}")).await;
        refused_by_cli(&cli, number).await;
    }
    for number in [".inf", "-.INF", ".nan", "0x10000000000000000", "0644"] {
        let text = thing("x", &format!("{{a: {number}}}"));
        assert_eq!(cli.fed(&["apply", "-f", "-"], &text).await.code, 2, "{number}");
    }
    let entities = client.entities().await;
    assert_eq!(entities.len(), 1, "something was made: {entities:#?}");
    assert_eq!(entities[0]["desired"], json!({ "a": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_value_is_refused_on_every_road() {
    let (_setup, server, cli) = start("").await;
    let prod = json!({ "name": "prod" });
    server.client.send(Method::POST, "/v1/namespaces", Some(&prod), &[]).await.unwrap();
    for member in [
        "namespace:",
        "namespace: ''",
        "namespace: null",
        "backend: ~",
        "labels:",
        "drift_policy:",
        "external_id: \"\"",
    ] {
        let text = file("a", "x").replace("labels: {app: site}\n", "") + member + "\n";
        for arguments in [
            &["apply", "-f", "-", "-n", "prod"][..],
            &["apply", "-f", "-"],
            &["delete", "-f", "-", "--yes"],
        ] {
            let said = cli.fed(arguments, &text).await;
            assert_eq!(said.code, 2, "{member} {arguments:?}: {said:#?}");
            let name = member.split(':').next().unwrap();
            assert!(
                said.err
                    .contains(&format!("standard input:1: this document is no manifest: {name} ")),
                "{said:#?}"
            );
        }
    }
    for member in [
        "namespace",
        "backend",
        "external_id",
        "drift_policy",
        "deletion_policy",
        "management_policy",
        "replace",
        "labels",
    ] {
        let mut body =
            json!({ "kind": "fake.thing", "name": "a", "backend": "sandbox", "desired": {} });
        body[member] = json!(null);
        let reply =
            server.client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, 422, "{member}: {:#}", reply.body);
    }
    let id = server.client.thing("t", json!({})).await;
    for member in ["desired", "labels", "drift_policy", "protected"] {
        let (path, body) = (format!("/v1/entities/{id}"), json!({ member: null }));
        let reply = server.client.send(Method::PUT, &path, Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, 422, "{member}: {:#}", reply.body);
        let merged = server
            .client
            .request(Method::PATCH, &path)
            .header("Content-Type", "application/merge-patch+json");
        let status = merged.body(body.to_string()).send().await.unwrap().status();
        assert_eq!(status, 422, "{member} is taken away, and left as it is");
    }
    assert_eq!(server.client.entities().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_arrive_as_they_were_written() {
    let (_setup, server, cli) = start("").await;
    let long = "k".repeat(1_500);
    let json = format!(
        "\u{feff}{{\"kind\": \"fake.thing\", \"name\": \"a\", \"desired\": {{\"line\": \"a\u{85}b\u{2028}c\", \"{long}\": \"\\ud83d\\ude00\"}}}}\n\
         {{\"kind\": \"fake.thing\", \"name\": \"b\", \"desired\": {{}}}}"
    );
    let said = cli.fed(&["apply", "-f", "-"], &json).await;
    assert_eq!(said.lines(), ["fake.thing/a created", "fake.thing/b created"], "{said:#?}");
    let merged = "x: &base {size: 1, tags: [a]}\n";
    let said = cli.fed(&["apply", "-f", "-"], merged).await;
    assert_eq!(said.code, 2, "an anchor is no manifest: {said:#?}");
    let yaml = "\u{feff}kind: fake.thing\nname: c\nlabels: &l {app: site}\ndesired:\n  l: *l\n  <<: {size: 1, on: no}\n  size: 2\n";
    assert_eq!(
        cli.fed(&["apply", "-f", "/dev/stdin"], yaml).await.lines(),
        ["fake.thing/c created"]
    );
    let entities = server.client.entities().await;
    let desired =
        |name: &str| entities.iter().find(|one| one["name"] == name).unwrap()["desired"].clone();
    assert_eq!(desired("a"), json!({ "line": "a\u{85}b\u{2028}c", long: "\u{1f600}" }));
    assert_eq!(desired("c"), json!({ "l": { "app": "site" }, "size": 2, "on": "no" }));
    // And written again.
    for format in ["yaml", "json"] {
        let shown = cli.ok(&format!("get thing -o {format}")).await;
        let again = cli.fed(&["apply", "-f", "-"], &shown).await;
        assert_eq!((again.code, again.err.trim()), (0, "3 unchanged"), "{shown}");
    }
    for twice in [
        "kind: fake.thing\nname: d\ndesired: {a: 1, a: 2}\n",
        "{\"kind\": \"fake.thing\", \"name\": \"d\", \"desired\": {\"a\": 1, \"a\": 2}}",
    ] {
        let said = cli.fed(&["apply", "-f", "-"], twice).await;
        assert_eq!(said.code, 2, "{said:#?}");
        assert!(said.err.contains("there twice"), "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_input_that_is_too_long_is_used() {
    let (_setup, server, cli) = start("").await;
    let text = thing("cut", "{}") + &"# padding\n".repeat(7 * 1024 * 1024);
    let said = cli.fed(&["apply", "-f", "-"], &text).await;
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(said.err.contains("standard input is longer than 67108864 bytes"), "{said:#?}");
    assert_eq!(server.client.entities().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_say_what_they_do_not_give() {
    let (setup, server, cli) = start("").await;
    let deep: String = (0..12).map(|level| format!("{level}/")).collect();
    cli.file(&format!("m/{deep}t.yaml"), &thing("deep", "{}"));
    let pipe = setup.folder.path().join("m/pipe.yaml");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    symlink("..", setup.folder.path().join("m/0/up")).unwrap();
    let said = cli.run("apply -f m").await;
    assert_eq!((said.code, said.lines()), (0, vec!["fake.thing/deep created"]), "{said:#?}");
    assert!(said.err.contains("pipe.yaml is passed over: it is a pipe"), "{said:#?}");
    let deeper: String = (0..40).map(|level| format!("{level}/")).collect();
    cli.file(&format!("m/{deeper}t.yaml"), &thing("deeper", "{}"));
    let said = cli.run("apply -f m").await;
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(said.err.contains("is nested deeper than 32 folders"), "{said:#?}");
    assert_eq!(server.client.entities().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_applies_by_the_same_rules_or_does_not_start() {
    let setup = Setup::new("[backends.sandbox]\ndriver = \"fake\"\n");
    let cli = Cli::new(setup.folder.path());
    let manifests = cli.file("m.yaml", "kind: fake.thing\nname: a\ndesired: {a: 1, a: 2}\n");
    let mut command = setup.command();
    command.args(["--apply", &manifests]);
    let (code, lines) = crate::harness::refused(command).await;
    assert_eq!(code, Some(2), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("m.yaml:3:17: member \"a\" is there twice")),
        "{lines:#?}"
    );
    cli.file("m.yaml", "kind: fake.thing\nname: a\ndesired: {<<: {a: 1}, b: 2}\n");
    let mut command = setup.command();
    command.args(["--apply", &manifests]);
    let server = setup.run(command).await.expect("ready");
    let found = crate::harness::until("it is applied", async || {
        server.client.entities().await.into_iter().next()
    });
    assert_eq!(found.await["desired"], json!({ "a": 1, "b": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_of_the_type_that_the_schema_says() {
    let (_setup, server, cli) = start("").await;
    let id = server.client.file("a", "a.txt", "x").await;
    for (text, content) in
        [("123", "123"), ("true", "true"), ("{}", "{}"), ("\"7\"", "7"), ("1e400", "1e400")]
    {
        let said = cli.fed(&["set", "file/a", &format!("content={text}")], "").await;
        assert_eq!(said.code, 0, "{said:#?}");
        assert_eq!(server.client.entity(&id).await["desired"]["content"], content, "{text}");
    }
    cli.ok("set file/a mode=0640").await;
    assert_eq!(server.client.entity(&id).await["desired"]["mode"], "0640");
    cli.ok("set file/a mode=null").await;
    assert_eq!(server.client.entity(&id).await["desired"]["mode"], json!(null));
    let id = server.client.thing("t", json!({})).await;
    cli.ok("set thing/t size=20 name=db text=\"7\"").await;
    assert_eq!(
        server.client.entity(&id).await["desired"],
        json!({ "size": 20, "name": "db", "text": "7" })
    );
}
