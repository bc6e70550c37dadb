//! What the documentation says of exit codes, error lines and a server that does not answer.

use std::time::{Duration, Instant};

use super::{Cli, LOCAL, file, start};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_line_names_and_is_not_there_is_3_for_every_verb() {
    let (_setup, _server, cli) = start("").await;
    cli.file("m.yaml", &file("a", "x"));
    for line in [
        "apply -f m.yaml -n nosuch",
        "diff -f m.yaml -n nosuch",
        "delete -f m.yaml -n nosuch",
        "get -n nosuch",
        "tokens issue ci --grant viewer@nosuch",
        "get nosuch",
        "backends get nosuch",
        "backends pause nosuch",
        "backends test nosuch",
        "projections rebuild nosuch",
        "tokens revoke nosuch",
    ] {
        assert!(cli.fails(line, 3).await.contains("nosuch"), "{line}");
    }
    // A fault of a document is one among many: it does not hide the results of the others.
    cli.file("n.yaml", &format!("namespace: nosuch\n{}", file("a", "x")));
    cli.fails("apply -f n.yaml", 1).await;
    cli.fails("diff -f n.yaml", 2).await;
    cli.ok("delete -f n.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_a_decision_is_4() {
    let (setup, _server, cli) = start(LOCAL).await;
    std::fs::create_dir_all(setup.managed()).unwrap();
    std::fs::write(setup.managed().join("a.txt"), "was here").unwrap();
    cli.file("m.yaml", &file("a", "one"));
    cli.fails("apply -f m.yaml --wait", 4).await;
    cli.fails("wait file/a", 4).await;
    cli.fails("refresh file/a --wait", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_without_sense_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let cli = Cli::new(folder.path());
    for (line, part) in [
        ("get --nonsense", "--nonsense"),
        ("wait file/a --timeout soon", "soon"),
        ("wait file/a --timeout -5s", "is no duration"),
        ("describe", "stateward describe --help"),
        ("apply -f m.yaml -n=", "--namespace"),
        ("get -n=", "--namespace"),
        ("operations --state nosuch", "superseded"),
        ("tokens issue ci --grant nosuch", "they are viewer, operator, admin"),
    ] {
        let said = cli.run(line).await;
        assert_eq!((said.code, said.err.lines().count()), (2, 1), "{line}: {said:#?}");
        assert!(said.err.starts_with("stateward: ") && said.err.contains(part), "{said:#?}");
    }
    assert!(cli.ok("get --help").await.contains("Usage: stateward get"));
    assert!(cli.ok("--version").await.starts_with("stateward "));
    let mut full = cli.command(&["--help"]);
    full.stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    assert_eq!(full.spawn().unwrap().wait().await.unwrap().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_and_never_answers_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cli = Cli::new(folder.path()).with("STATEWARD_SERVER", &url);
    let began = Instant::now();
    assert!(cli.fails("get", 1).await.contains("no answer in time"));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
