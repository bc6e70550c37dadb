//! Every verb has a test, and help in the real binary.

use std::collections::BTreeSet;
use std::path::Path;

use super::Cli;

/// All verbs of the binary's own parser: it writes a manual page for each.
async fn verbs() -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path());
    cli.ok("man pages").await;
    let pages: BTreeSet<_> = std::fs::read_dir(folder.path().join("pages"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .filter_map(|page| Some(page.strip_prefix("stateward-")?.strip_suffix(".1")?.to_owned()))
        .collect();
    // A verb with subcommands is tested by them; their pages contain its name.
    let has_members = |page: &String| {
        let prefix = format!("{page}-");
        pages.iter().any(|other| other.starts_with(&prefix))
    };
    let is_help = |page: &str| page.split('-').any(|word| word == "help");
    pages.iter().filter(|page| !has_members(page) && !is_help(page)).cloned().collect()
}

/// The source of all tests that run the binary.
fn tests() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e");
    let below = |name: &str| std::fs::read_dir(folder.join(name)).unwrap();
    let files = ["", "cli", "audit", "nodes"]
        .into_iter()
        .flat_map(below)
        .map(|entry| entry.unwrap().path());
    let sources = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    sources.map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// Whether a test runs a verb: as a line, or as a list of words.
fn is_run(tests: &str, verb: &str) -> bool {
    let words = format!("[\"{}\"", verb.replace(' ', "\", \""));
    let line = |start, end| tests.contains(&format!("{start}\"{verb}{end}"));
    line("(", " ") || line("(", "\"") || tests.contains(&words)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_has_a_test() {
    let (verbs, tests) = (verbs().await, tests());
    assert!(verbs.len() > 35, "{verbs:?}");
    assert!(!is_run(&tests, "levitate"), "everything counts as a test");
    for verb in verbs {
        // All other tests of this binary start servers.
        if verb == "serve" {
            continue;
        }
        let line = verb.replacen('-', " ", usize::from(!verb.starts_with("fake-")));
        assert!(is_run(&tests, &line), "no test says `stateward {line}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_versions_and_completion_need_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path());
    let help = cli.ok("--help").await;
    assert!(help.lines().count() <= 30, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    assert!(cli.ok("--version").await.starts_with("stateward "));
    assert!(cli.ok("fake-world --help").await.contains("Example"));
    assert!(cli.ok("apply --help").await.contains("Examples:"));
    for shell in ["bash", "zsh", "fish"] {
        let script = cli.ok(&["completion", shell].join(" ")).await;
        assert!(script.contains("projections"), "{shell}");
    }
    cli.ok("completion fish").await;
    for nonsense in [
        "",
        "frobnicate",
        "get --colour",
        "wait file/a --for fine",
        "get --label team",
        "get -l =team",
    ] {
        assert_eq!(cli.run(nonsense).await.code, 2, "{nonsense}");
    }
}
