//! The README's first ten minutes, command by command: each has to work.

use std::path::Path;

use super::{BINARY, start};
use crate::harness::until;

/// A server with a short drift interval, whose files are where the README expects them.
const CONFIG: &str = "[backends.local]\ndriver = \"local\"\nroot = \"./data/managed\"\n\
    drift_interval = \"200ms\"\n[backends.sandbox]\ndriver = \"fake\"\n";
/// Commands outside this test: building, ports and waiting.
const ELSEWHERE: &[&str] = &["make ", "export ", "curl ", "sleep "];

/// The commands under each heading of the first ten minutes.
fn scripts(readme: &str) -> Vec<String> {
    let (_, rest) = readme.split_once("## The first ten minutes").expect("a heading");
    let (minutes, _) = rest.split_once("\n## ").expect("a next heading");
    let blocks = minutes.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().expect("an end"));
    blocks
        .map(|block| {
            let ours = |line: &&str| !ELSEWHERE.iter().any(|word| line.starts_with(word));
            block.lines().filter(ours).map(checked).collect()
        })
        .collect()
}

/// Runs a command that must not fail; a difference (`diff`) is no failure.
fn checked(line: &str) -> String {
    let allowed = i32::from(line.starts_with("stateward diff"));
    if !line.starts_with("stateward ") {
        return format!("{line}\n");
    }
    let command = line.split("  #").next().unwrap_or(line).trim_end();
    format!("{command} || [ $? -le {allowed} ] || {{ echo \"failed: {command}\" >&2; exit 1; }}\n")
}

async fn run(script: &str, folder: &Path) {
    let bin = Path::new(BINARY).parent().expect("a folder").display();
    let path = std::env::var("PATH").expect("a path");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", script]).current_dir(folder).env("PATH", format!("{bin}:{path}"));
    let output = shell.output().await.expect("there is a shell");
    let complaints = String::from_utf8_lossy(&output.stderr);
    // A pipe hides how its first command ended.
    let clean = !complaints.lines().any(|line| line.starts_with("stateward: "));
    assert!(output.status.success() && clean, "{script}\n{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_first_ten_minutes_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (setup, _server, cli) = start(CONFIG).await;
    let folder = setup.folder.path();
    std::os::unix::fs::symlink(
        root.join("examples").canonicalize().unwrap(),
        folder.join("examples"),
    )
    .unwrap();
    cli.ok("apply -f examples/basics --wait").await;
    let scripts = scripts(&readme);
    assert_eq!(scripts.len(), 4, "the newcomer, and three who come back");
    for script in scripts {
        run(&script, folder).await;
    }
    let kept = setup.data().join("managed/hello.txt");
    until("the drift is put back", async || {
        (std::fs::read_to_string(&kept).ok()? == "hello\n").then_some(())
    })
    .await;
}
