//! namespaces, tokens, backends, projections; and that no output contains a token.

use std::os::unix::fs::PermissionsExt;

use super::{Cli, file, start, thing};
use crate::harness::until;

#[tokio::test(flavor = "multi_thread")]
async fn who_may_come_in_where() {
    let (setup, mut server, cli) = start("").await;
    cli.ok("namespaces create physics --require-reason --reason growth").await;
    cli.fails("namespaces create physics", 4).await;
    assert_eq!(cli.ok("namespaces list -o name").await, "default\nphysics\n");
    assert!(cli.ok("namespaces").await.contains("NEEDS-REASON"));

    let shown = cli.run("tokens issue auditor --grant viewer --expires 24h").await;
    assert!(shown.out.starts_with("stw_") && !shown.err.contains("stw_"), "{shown:#?}");
    let line = "tokens issue ci --grant operator@physics --to ci.token -o json";
    let issued = cli.run(line).await;
    assert!(issued.json()["value"].is_null(), "{issued:#?}");
    let kept = setup.folder.path().join("ci.token");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(cli.run(line).await.code, 1, "a token's file is overwritten");
    let listed = cli.ok("tokens list").await;
    assert_eq!(cli.ok("tokens").await.lines().count(), 3, "one more was issued: {listed}");
    assert!(listed.contains("operator@physics") && !listed.contains("stw_"), "{listed}");

    let ci = Cli::new(setup.folder.path()).with("STATEWARD_TOKEN_FILE", "ci.token");
    cli.file("m.yaml", &file("a", "x"));
    assert!(ci.fails("apply -f m.yaml", 1).await.contains("422"), "a role elsewhere");
    assert!(ci.fails("apply -f m.yaml -n physics", 1).await.contains("--reason"));
    let said = ci
        .fed(&["apply", "-f", "m.yaml", "-n", "physics", "--wait", "--reason", "größer"], "")
        .await;
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(ci.ok("history file/a -n physics").await.contains("größer"));
    assert!(ci.fails("tokens", 5).await.contains("stateward tokens issue"));

    let said = ci.run("get -n physics --verbose").await;
    assert!(said.err.contains("> GET /v1/entities"), "{said:#?}");
    let token = std::fs::read_to_string(&kept).unwrap();
    assert!(!said.err.contains(&token) && !said.out.contains(&token), "a token is told");
    let id = issued.json()["id"].as_str().unwrap().to_owned();
    cli.ok(&format!("tokens revoke {id}")).await;
    let line = ci.fails("get", 5).await;
    assert!(line.contains("ci.token") && !line.contains(&token), "{line}");
    cli.fails("namespaces delete physics", 4).await;
    cli.ok("namespaces create empty").await;
    cli.ok("namespaces delete empty").await;

    let url = setup.data().join("server.url");
    assert_eq!(std::fs::metadata(&url).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(server.terminate().await.success());
    assert!(!url.exists(), "an address where nobody answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_backends_and_read_models_stand() {
    let (_setup, _server, cli) = start("").await;
    until("it was asked whether it is well", async || {
        (cli.ok("backends").await.matches("open").count() == 2).then_some(())
    })
    .await;
    assert_eq!(cli.ok("backends list -o name").await, "local\nsandbox\n");
    let paused = cli.run("backends pause local --until 2h --reason upgrade -o json").await.json();
    assert_eq!(paused["paused"], true);
    assert!(cli.ok("backends get local").await.contains("paused"));
    assert!(cli.ok("backends resume local").await.contains("open"));
    assert!(cli.ok("backends test local").await.contains("open"));
    cli.fails("backends get none", 3).await;

    assert!(cli.ok("projections").await.contains("entities"));
    assert!(cli.ok("projections list -o name").await.contains("sync_queue"));
    cli.ok("projections rebuild entities").await;
    cli.ok("projections retry entities").await;
    cli.fails("projections rebuild none", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_backend_says_why_and_until_when_also_for_what_waits_there() {
    let (_setup, _server, cli) = start("").await;
    let line = "backends pause sandbox --until 2h --reason upgrade -o json";
    let paused = cli.run(line).await.json();
    assert_eq!(paused["pause"]["reason"], "upgrade");
    let until = paused["pause"]["until"].as_str().unwrap()[..16].to_owned();
    let listed = cli.run("backends -o json").await.json();
    assert_eq!(listed["items"][1]["pause"], paused["pause"]);
    assert!(listed["items"][0]["pause"].is_null(), "{listed:#}");
    cli.file("t.yaml", &thing("t", "{size: 1}"));
    cli.ok("apply -f t.yaml").await;
    for line in ["backends", "get thing -o wide", "describe thing/t"] {
        let said = cli.ok(line).await;
        assert!(said.contains(&until) && said.contains(": upgrade"), "{line}: {said}");
    }
    assert!(cli.fails("wait thing/t --timeout 1s", 124).await.contains("paused until"));
    cli.ok("backends resume sandbox").await;
    cli.ok("wait thing/t").await;
    assert!(!cli.ok("backends").await.contains("upgrade"));
}
