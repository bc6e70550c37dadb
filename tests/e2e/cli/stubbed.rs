//! Servers that are unreachable, failing or not trusted; and verbs of which only the requests are checked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stub::{Answer, Stub};
use super::{Cli, start};
use crate::harness::Setup;

const ID: &str = "01a210af-41fc-710c-92db-b0b800e7ce12";

fn done() -> Answer {
    let entity = json!({ "id": ID, "kind": "local.file", "name": "a", "revision": 1 });
    Answer::Reply(200, "", json!({ "entity": entity, "operation": null, "position": "p" }))
}

fn found() -> Answer {
    Answer::Reply(200, "", json!({ "id": ID, "kind": "local.file", "name": "a" }))
}

fn cli_for(stub: &Stub) -> (tempfile::TempDir, Cli) {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path()).with("STATEWARD_SERVER", &stub.url);
    (folder, cli.with("STATEWARD_TOKEN", "stw_secret"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_sent_again_under_the_same_key_until_it_is_answered() {
    let busy = Answer::Reply(503, "Retry-After: 1\r\n", json!({ "detail": "not now" }));
    let often = Answer::Reply(429, "", json!({ "detail": "too often" }));
    let stub = Stub::start(vec![found(), Answer::HangUp, busy, often, done()]).await;
    let (_folder, cli) = cli_for(&stub);
    let began = Instant::now();
    let said = cli.run(&format!("pause {ID} --reason because --change T-1 --verbose")).await;
    assert_eq!((said.code, &*said.out), (0, "local.file/a paused\n"), "{said:#?}");
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After was not honoured");
    let asked = stub.asked();
    let sent: Vec<_> = asked.iter().filter(|asked| asked.line.starts_with("POST ")).collect();
    assert_eq!(sent.len(), 4, "{asked:#?}");
    let keys: Vec<_> = sent.iter().map(|asked| &asked.headers["idempotency-key"]).collect();
    assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(sent[0].headers["stateward-reason"], "because");
    assert_eq!(sent[0].headers["stateward-change"], "T-1");
    assert_eq!(sent[0].headers["authorization"], "Bearer stw_secret");
    assert!(!said.err.contains("secret"), "the token is told: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_have_two_keys_and_patience_ends() {
    let other = ID.replace('c', "d");
    let another = Answer::Reply(200, "", json!({ "id": other, "kind": "local.file", "name": "b" }));
    let stub = Stub::start(vec![found(), another, done()]).await;
    let (_folder, cli) = cli_for(&stub);
    cli.ok(&format!("refresh {ID} {other}")).await;
    let keys: Vec<_> = stub
        .asked()
        .iter()
        .filter_map(|asked| asked.headers.get("idempotency-key").cloned())
        .collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);

    let gone = Stub::start(vec![Answer::HangUp]).await;
    let (_folder, cli) = cli_for(&gone);
    let line = cli.fails("backends", 1).await;
    assert!(line.contains(&gone.url), "{line}");
    assert_eq!(gone.asked().len(), 3, "an address that never answered is given up soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_issued_twice() {
    let stub = Stub::start(vec![Answer::HangUp, done()]).await;
    let (folder, cli) = cli_for(&stub);
    cli.fails("tokens issue ci --grant viewer --to ci.token", 1).await;
    assert_eq!(stub.asked().len(), 1);
    assert!(!folder.path().join("ci.token").exists(), "an empty token is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path());
    let line = cli.fails("get --server http://127.0.0.1:9", 1).await;
    assert!(
        line.contains("http://127.0.0.1:9 does not answer") && line.contains("stateward serve"),
        "{line}"
    );
    let line = cli.fails("get --server nonsense", 2).await;
    assert!(line.contains("nonsense"), "{line}");
    let line = cli.fails("get --token-file none", 1).await;
    assert!(line.contains("cannot read none"), "{line}");
    assert!(cli.run("diff -f none.yaml --server http://127.0.0.1:9").await.code > 1);

    let page = Stub::start(vec![Answer::Reply(200, "", Value::String("<html>".to_owned()))]).await;
    let (_folder, cli) = cli_for(&page);
    assert_eq!(cli.ok("backends -o json").await.trim(), "{\n  \"items\": []\n}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_tokens_are_named_by_their_origin() {
    let (setup, _server, cli) = start("").await;
    std::fs::write(setup.folder.path().join("other"), "stw_wrong\n").unwrap();
    let line = cli.fails("get --token-file other", 5).await;
    assert!(
        line.contains("the token of other was refused") && !line.contains("stw_wrong"),
        "{line}"
    );
    let stranger = Cli::new(setup.folder.path()).with("STATEWARD_TOKEN", "stw_nobody");
    assert!(stranger.fails("get", 5).await.contains("STATEWARD_TOKEN"));
    let plain = Cli::new(setup.folder.path()).with("NO_COLOR", "1");
    assert!(!plain.ok("backends").await.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_believed_when_its_authority_is_named() {
    let setup = Setup::new("[server]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .unwrap();
    let folder = setup.folder.path();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let _server = setup.run(setup.command()).await.unwrap();
    let cli = Cli::new(folder);
    assert!(cli.fails("backends", 1).await.contains("--ca-file"));
    assert!(cli.ok("backends --ca-file cert.pem").await.contains("sandbox"));
    let knows = Cli::new(folder).with("STATEWARD_CA_FILE", "cert.pem");
    assert!(knows.ok("backends").await.contains("sandbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_unfreeze_and_reload_ask_for_what_is_pinned() {
    let checkpoint =
        json!({ "log_id": "l", "position": "p", "count": 1, "digest": "d", "taken_at": "t" });
    let result = json!({ "ok": false, "events": 3, "streams": 1, "entities": 1, "fault_count": 1, "elapsed_ms": 1,
        "faults": [{ "stream": "entity/x", "version": 2, "position": "p", "fault": "hash", "detail": "edited" }],
        "checkpoint": checkpoint });
    let stub = Stub::start(vec![
        Answer::Reply(200, "", checkpoint.clone()),
        Answer::Reply(200, "", json!({ "result": result })),
        Answer::Reply(200, "", json!({ "type": "entity.deleted" })),
        Answer::Reply(200, "", json!({ "observe_only": false })),
        Answer::Reply(200, "", json!({ "backends": [{ "name": "cloud", "change": "added" }] })),
    ])
    .await;
    let (_folder, cli) = cli_for(&stub);
    let taken = cli.ok("audit checkpoint").await;
    cli.file("checkpoint.json", &taken);
    let said = cli.run("audit verify --against checkpoint.json").await;
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.out.contains("edited") && said.out.contains("1 fault(s)"), "{said:#?}");
    assert_eq!(
        cli.ok("audit export --type entity.deleted").await,
        "{\"type\":\"entity.deleted\"}\n"
    );
    assert_eq!(cli.run("unfreeze").await.code, 2, "nobody was asked");
    cli.ok("unfreeze --yes --reason restored").await;
    assert!(cli.ok("backends reload").await.contains("added"));

    let asked = stub.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let expected = [
        "GET /v1/audit/checkpoint",
        "POST /v1/audit/verify",
        "GET /v1/audit/export?type=entity.deleted",
        "POST /v1/system/unfreeze",
        "POST /v1/backends/reload",
    ];
    assert_eq!(lines, expected);
    assert_eq!(asked[1].body, json!({ "against": checkpoint }));
    assert_eq!(asked[1].headers["accept"], "application/x-ndjson");
    assert_eq!(asked[3].headers["stateward-reason"], "restored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replacement_loses_is_printed_before_and_when_it_happens() {
    let listed = || Answer::Reply(200, "", json!({ "items": [{ "id": ID }] }));
    let plan = || {
        let change = json!({ "field": "/size", "from": 2, "to": 1 });
        let plan = json!({
            "action": "replace", "backend": "b", "changes": [change], "replaces": ["/size"],
            "loses": "all its data",
        });
        Answer::Reply(200, "", json!({ "plan": plan }))
    };
    let why = "replaced for /size, which loses all its data";
    let manifest = "{kind: local.file, name: a, backend: b, desired: {size: 1}}";
    for (verb, rest, code) in
        [("apply --dry-run", vec![], 0), ("apply --replace", vec![done()], 0), ("diff", vec![], 1)]
    {
        let mut answers = vec![listed(), found(), plan()];
        answers.extend(rest);
        let stub = Stub::start(answers).await;
        let (folder, cli) = cli_for(&stub);
        std::fs::write(folder.path().join("a.yaml"), manifest).unwrap();
        let said = cli.run(&format!("{verb} -f a.yaml")).await;
        assert_eq!(said.code, code, "{verb}: {said:#?}");
        assert!(said.out.contains(why) || said.err.contains(why), "{verb}: {said:#?}");
    }
}
