//! Which server is used with a data directory: its own, or none.

use serde_json::json;

use super::stub::{Answer, Stub};
use super::{Cli, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_not_replaced_by_one_at_the_default_address() {
    let (setup, mut server, cli) = start("").await;
    let data = setup.data().display().to_string();
    cli.ok(&format!("get --data {data}")).await;
    server.terminate().await;
    for line in ["get", "describe file/a", &format!("get --data {data}")] {
        let said = cli.fails(line, 1).await;
        assert!(said.contains("no server runs on") && said.contains("data"), "{said}");
    }
    let elsewhere = Cli::new(setup.folder.path()).with("STATEWARD_TOKEN", "stw_x");
    let said = elsewhere.fails("get --data data", 1).await;
    assert!(said.contains("no server runs on data"), "{said}");
    // Verbs without a server need none.
    cli.ok("audit verify --offline").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_behind_a_stale_address_is_sent_no_token() {
    let (setup, mut server, cli) = start("").await;
    server.kill_now().await;
    let answers = vec![Answer::Reply(200, "", json!({ "items": [], "next_page_token": null }))];
    let stranger = Stub::start(answers).await;
    std::fs::write(setup.data().join("server.url"), &stranger.url).unwrap();
    let named = Cli::new(setup.folder.path()).with("STATEWARD_SERVER", &stranger.url);
    let given = Cli::new(setup.folder.path()).with("STATEWARD_TOKEN", "stw_issued");
    for cli in [&cli, &named, &given] {
        let said = cli.fails("get", 1).await;
        assert!(said.contains("is not the server of") && said.contains("admin.token"), "{said}");
    }
    let asked = stranger.asked();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.headers.get("authorization"), None, "{request:#?}");
    }
}
