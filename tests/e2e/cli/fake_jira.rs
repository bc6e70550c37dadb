//! `stateward fake-jira`.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::BINARY;
use crate::harness::http;

/// Starts a fake with these options; returns its process and the lines that it prints.
async fn started(options: &[&str], lines: usize) -> (tokio::process::Child, Vec<String>) {
    let mut child = Command::new(BINARY)
        .args(["fake-jira", "--listen", "127.0.0.1:0"])
        .args(options)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    for _ in 0..lines {
        printed.push(reader.next_line().await.unwrap().unwrap());
    }
    (child, printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_an_address_and_credentials_that_work() {
    let (_child, lines) = started(&["--context-path", "/jira"], 2).await;
    let url = &lines[0];
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/jira"), "{url}");
    let word = |before: &str| {
        let (_, rest) = lines[1].split_once(before).unwrap();
        rest.split(',').next().unwrap().trim().to_owned()
    };
    let request = http().get(format!("{url}/rest/api/3/myself"));
    let request = request.basic_auth(word("e-mail "), Some(word("API token ")));
    let me: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["displayName"], "Automation Bot");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_data_center_it_takes_personal_access_tokens() {
    let (_child, lines) = started(&["--data-center"], 2).await;
    let (_, token) = lines[1].rsplit_once(' ').unwrap();
    let request = http().get(format!("{}/rest/api/2/myself", lines[0]));
    let me: Value = request.bearer_auth(token).send().await.unwrap().json().await.unwrap();
    assert_eq!(me["name"], "bot");
}
