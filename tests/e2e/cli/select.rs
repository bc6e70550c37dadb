//! Selections: labels like kubectl's, and empty selections.

use super::{Cli, LOCAL, Said, file, start, thing};

/// The help of a verb: a new verb that acts on a selection fails without a test.
async fn takes_a_selection(cli: &Cli, verb: &str) -> bool {
    cli.ok(&format!("{verb} --help")).await.contains("--selector")
}

const ACT: [&str; 6] = ["refresh", "retry", "pause", "resume", "release", "protect"];
const LOOK: [&str; 3] = ["get", "watch", "delete"];

async fn selecting(cli: &Cli, arguments: &[&str]) -> Said {
    cli.fed(arguments, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_selected_as_kubectl_does() {
    let (_setup, _server, cli) = start(LOCAL).await;
    let labelled = |name: &str, labels: &str| {
        thing(name, "{}").replace("desired:", &format!("labels: {labels}\ndesired:"))
    };
    let all = [
        labelled("web", "{app: web, tier: front}"),
        labelled("api", "{app: api, tier: back}"),
        labelled("db", "{app: \"a b,c=d\"}"),
        thing("bare", "{}"),
    ];
    let path = cli.file("all.yaml", &all.join("---\n"));
    cli.ok(&format!("apply -f {path} --wait")).await;
    for (selector, expected) in [
        ("app=web", vec!["web"]),
        ("app==web,tier=front", vec!["web"]),
        ("app!=web", vec!["api", "bare", "db"]),
        ("app in (web, api)", vec!["api", "web"]),
        ("app notin (web, api)", vec!["bare", "db"]),
        ("tier", vec!["api", "web"]),
        ("!tier", vec!["bare", "db"]),
        ("app,!tier", vec!["db"]),
        ("app=web,tier=back", vec![]),
    ] {
        for line in [
            vec!["get", "-o", "name", "-l", selector],
            vec!["get", "thing", "-o", "name", "--selector", selector],
        ] {
            let said = selecting(&cli, &line).await;
            assert_eq!(said.code, 0, "{line:?}: {said:#?}");
            let mut names: Vec<_> =
                said.out.lines().map(|name| name.trim_start_matches("fake.thing/")).collect();
            names.sort_unstable();
            assert_eq!(names, expected, "{line:?}");
        }
    }
    let both = selecting(&cli, &["get", "-o", "name", "-l", "app", "-l", "tier!=front"]).await;
    assert_eq!(both.out.lines().count(), 2, "all that are given have to fit: {both:#?}");
    // Outside the grammar.
    let exact = selecting(&cli, &["get", "-o", "name", "--label", "app=a b,c=d"]).await;
    assert_eq!(exact.out, "fake.thing/db\n");
    for (selector, position) in [("a=b=c", 4), ("a in b", 6), ("", 1), ("a=b,", 5), ("a>1", 2)] {
        for verb in ["get", "wait", "delete", "retry"] {
            let said = selecting(&cli, &[verb, "-l", selector]).await;
            assert_eq!(said.code, 2, "{verb} {selector:?}: {said:#?}");
            assert!(said.err.contains(&format!("character {position}: ")), "{said:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_of_nothing_is_no_success_unless_that_is_allowed() {
    let (_setup, _server, cli) = start(LOCAL).await;
    let path = cli.file("a.yaml", &file("a", "x"));
    cli.ok(&format!("apply -f {path} --wait")).await;
    for verb in ACT {
        assert!(takes_a_selection(&cli, verb).await, "{verb}");
        let complaint = cli.fails(&format!("{verb} -l app=none --yes"), 3).await;
        assert!(complaint.contains("nothing is selected"), "{verb}: {complaint}");
        cli.ok(&format!("{verb} -l app=none --yes --allow-empty")).await;
    }
    assert!(cli.fails("wait -l app=none", 3).await.contains("nothing is selected"));
    assert!(cli.fails("wait --state erred --for ok", 3).await.contains("nothing is selected"));
    cli.ok("wait -l app=none --allow-empty").await;
    // An entity that does not exist counts as deleted: reported, and no failure.
    let gone = cli.file("gone.yaml", &file("gone", "x"));
    for line in [
        "delete -l app=none --yes".to_owned(),
        "wait -l app=none --for deleted".to_owned(),
        format!("delete -f {gone}"),
    ] {
        let said = cli.run(&line).await;
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{line}: {said:#?}");
        let told = ["nothing found", "there is none of that name"];
        assert!(told.iter().any(|note| said.err.contains(note)), "{line}: {said:#?}");
    }
    // A named entity must exist; a list may be empty.
    cli.fails("delete file/gone", 3).await;
    cli.ok("get -l app=none").await;
    assert!(cli.ok("get -o name").await.contains("local.file/a"), "nothing was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_and_kinds_that_are_not_there_are_named() {
    let (_setup, _server, cli) = start(LOCAL).await;
    let path = cli.file("a.yaml", &file("a", "x"));
    cli.ok(&format!("apply -f {path} --wait")).await;
    let selects = LOOK.iter().chain(&ACT).chain(&["wait"]);
    let mut lines: Vec<(String, &str)> = Vec::new();
    // All of them share the selection, so each tests one form of it.
    let places = ["-n lost", "-l app=site -n lost", "file -n lost", "file/a -n lost"];
    let kinds = ["--kind tape", "tape", "tape -l app=site", "tape/a"];
    for (verb, (place, kind)) in selects.zip(places.into_iter().zip(kinds).cycle()) {
        assert!(takes_a_selection(&cli, verb).await, "{verb}");
        lines.push((format!("{verb} {place}"), "no namespace lost"));
        lines.push((format!("{verb} {kind}"), "no kind tape"));
    }
    for line in ["operations", "events", "events -f"] {
        lines.push((format!("{line} -n lost"), "no namespace lost"));
    }
    for verb in ["describe file/a", "history file/a", "set file/a content=y", "cancel file/a"] {
        lines.push((format!("{verb} -n lost"), "no namespace lost"));
    }
    lines.push(("explain tape".to_owned(), "no kind tape"));
    for (line, complaint) in lines {
        let said = cli.fails(&line, 3).await;
        assert!(said.contains(complaint), "{line}: {said}");
    }
}
