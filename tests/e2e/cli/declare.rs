//! apply, diff, delete: from manifests to objects, and back.

use super::{LOCAL, file, start, thing};

#[tokio::test(flavor = "multi_thread")]
async fn what_files_declare_becomes_real_is_compared_and_goes() {
    let (setup, _server, cli) = start(LOCAL).await;
    cli.file("m/a.yaml", &format!("{}---\n{}", file("a", "one"), thing("t", "{size: 1}")));
    cli.file("m/b.json", "{\"kind\": \"local.file\", \"name\": \"b\", \"desired\": {\"path\": \"b.txt\", \"content\": \"b\"}}");

    assert_eq!(cli.run("diff -f m").await.code, 1, "nothing is there yet");
    let planned = cli.ok("apply -f m --dry-run").await;
    assert_eq!(planned.lines().next(), Some("local.file/a would be created"));
    assert_eq!(cli.ok("get").await, "", "a dry run wrote something");

    let applied = cli.run("apply -f m --wait --reason because").await;
    assert_eq!(
        applied.lines(),
        ["local.file/a created", "fake.thing/t created", "local.file/b created"]
    );
    assert_eq!((applied.code, applied.err.trim()), (0, "3 created"));
    assert_eq!(std::fs::read_to_string(setup.managed().join("a.txt")).unwrap(), "one");

    let again = cli.run("apply -f m").await;
    assert_eq!((again.code, again.err.trim()), (0, "3 unchanged"), "{again:#?}");
    assert_eq!(cli.run("diff -f m").await.code, 0);
    let exported = cli.ok("get -o yaml").await;
    let applied = cli.fed(&["apply", "-f", "-"], &exported).await;
    assert_eq!((applied.code, applied.err.trim()), (0, "3 unchanged"), "{applied:#?}");

    cli.file("m/a.yaml", &file("a", "two").replace("app: site", "app: shop"));
    let diff = cli.run("diff -f m/a.yaml").await;
    assert_eq!(diff.code, 1);
    assert!(diff.out.contains("-  content: one\n+  content: two\n"), "{}", diff.out);
    assert!(diff.out.contains("-  app: site\n+  app: shop\n"), "{}", diff.out);
    assert_eq!(cli.ok("apply -f m/a.yaml --dry-run").await, "local.file/a would be changed\n");
    assert_eq!(cli.ok("apply -f m/a.yaml --wait").await, "local.file/a changed\n");
    assert_eq!(std::fs::read_to_string(setup.managed().join("a.txt")).unwrap(), "two");

    let settings = "kind: local.file\nname: a\ndrift_policy: report\n";
    let said = cli.fed(&["apply", "-f", "-", "-o", "json"], settings).await.json();
    assert_eq!(
        (&said["operation"], &said["entity"]["desired"]["content"]),
        (&serde_json::Value::Null, &"two".into())
    );
    assert_eq!(cli.run("diff local.file/a").await.code, 0);
    std::fs::write(setup.managed().join("a.txt"), "by hand").unwrap();
    cli.ok("wait file/a --for drifted --timeout 30s").await;
    let diff = cli.run("diff -f m/a.yaml --observed --color always").await;
    assert_eq!(diff.code, 1);
    assert!(diff.out.contains("\u{1b}[31m-content: by hand"), "{}", diff.out);
    assert!(cli.run("diff -f none.yaml").await.code > 1, "an error is no difference");

    assert_eq!(cli.ok("delete -f m/b.json --wait").await, "local.file/b deleted\n");
    assert!(!setup.managed().join("b.txt").exists());
    cli.ok("delete file/a --policy orphan --wait").await;
    assert!(setup.managed().join("a.txt").exists(), "an orphan was deleted");
    assert_eq!(cli.ok("get -o name").await, "fake.thing/t\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_in_form_alone_is_none() {
    let (_setup, _server, cli) = start("").await;
    let manifest = |content: &str| {
        let desired = format!("{{path: form.txt, content: {content}, mode: \"644\"}}");
        format!("kind: local.file\nname: form\ndesired: {desired}\n")
    };
    cli.file("form.yaml", &manifest("one"));
    cli.ok("apply -f form.yaml --wait").await;
    assert_eq!(cli.run("diff -f form.yaml").await.code, 0);
    let observed = cli.run("diff -f form.yaml --observed").await;
    assert_eq!(observed.code, 0, "{observed:#?}");
    cli.file("form.yaml", &manifest("two"));
    let diff = cli.run("diff -f form.yaml").await;
    let changed = diff.out.lines().filter(|line| line.starts_with(['-', '+']));
    let changed: Vec<_> = changed.filter(|line| !line.contains("local.file/form")).collect();
    assert_eq!(changed, ["-  content: one", "+  content: two"], "{}", diff.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_change_in_place_is_replaced_when_that_is_said() {
    let (_setup, _server, cli) = start("").await;
    cli.file("t.yaml", &thing("t", "{immutable: old}"));
    cli.ok("apply -f t.yaml --wait").await;
    let old = cli.run("get thing/t -o json").await.json()["observed"]["external_id"].clone();
    cli.file("t.yaml", &thing("t", "{immutable: new}"));
    let diff = cli.run("diff -f t.yaml").await;
    assert_eq!(diff.code, 1, "{diff:#?}");
    assert!(diff.out.contains("(replaced for /immutable)"), "{}", diff.out);
    assert!(cli.fails("apply -f t.yaml", 1).await.contains("--replace"));
    let planned = cli.ok("apply -f t.yaml --dry-run --replace").await;
    assert_eq!(planned, "fake.thing/t would be replaced\n");
    cli.ok("apply -f t.yaml --wait --replace").await;
    let new = cli.run("get thing/t -o json").await.json()["observed"]["external_id"].clone();
    assert_ne!(new, old);
    assert_eq!(cli.ok("apply -f t.yaml --replace").await, "fake.thing/t unchanged\n");

    cli.file("t.yaml", &(thing("t", "{immutable: new}") + "replace: allowed\n"));
    cli.ok("apply -f t.yaml").await;
    let exported = cli.ok("get thing/t -o yaml").await;
    assert!(exported.contains("replace: allowed"), "{exported}");
    let again = cli.fed(&["apply", "-f", "-"], &exported).await;
    assert_eq!(again.out, "fake.thing/t unchanged\n", "{again:#?}");
}

/// Like a nightly job: the server records the key of every accepted request.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_unchanged_is_not_sent() {
    let (_setup, server, cli) = start("").await;
    let plain = thing("plain", "{size: 1}");
    cli.file("m.yaml", &format!("{plain}---\n{}protected: true\n", thing("t", "{size: 1}")));
    cli.ok("apply -f m.yaml --wait").await;
    let written = async || {
        let page = server.client.get("/v1/events?page_size=1000").await.body;
        let events = page["items"].as_array().unwrap().iter();
        events.filter(|event| event["actor"]["type"] == "user").count()
    };
    let before = written().await;
    for options in ["", " --wait", " --replace"] {
        let said = cli.run(&format!("apply -f m.yaml{options}")).await;
        assert_eq!((said.code, said.err.trim()), (0, "2 unchanged"), "{options}: {said:#?}");
    }
    let said = cli.run("apply -f m.yaml -o json").await.json();
    assert_eq!(said["items"][0]["entity"]["name"], "plain", "{said:#}");
    assert_eq!(written().await, before);

    // A manifest that would be refused is not reported as unchanged.
    cli.ok("pause thing/plain").await;
    cli.ok("delete thing/plain").await;
    cli.file("plain.yaml", &plain);
    for options in ["", " --dry-run"] {
        cli.fails(&format!("apply -f plain.yaml{options}"), 4).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_does_not_keep_the_others_back() {
    let (_setup, _server, cli) = start("").await;
    let documents = [
        file("good", "x"),
        "kind: local.file\nname: bad\ndesired: {path: ../out, content: x, colour: red}\n"
            .to_owned(),
        "kind: tape.drive\nname: unknown\ndesired: {}\n".to_owned(),
        thing("erring", "{_fake: {fail: {create: invalid}}}"),
        thing("fine", "{}"),
    ];
    cli.file("all.yaml", &documents.join("---\n"));
    let said = cli.run("apply -f all.yaml --wait").await;
    assert_eq!(said.lines(), ["local.file/good created", "fake.thing/fine created"]);
    assert_eq!(said.code, 1);
    for part in [
        "local.file/bad: all.yaml: 422",
        "/desired",
        "tape.drive/unknown: all.yaml: 422",
        "fake.thing/erring: operation",
        "2 created, 3 failed",
    ] {
        assert!(said.err.contains(part), "nothing of {part}: {}", said.err);
    }

    cli.file("twice.yaml", &format!("{}---\n{}", file("new", "x"), file("new", "y")));
    assert!(cli.fails("apply -f twice.yaml", 2).await.contains("local.file/new is declared twice"));
    cli.fails("get file/new", 3).await;
    let moved = file("good", "x") + "backend: sandbox\n";
    let said = cli.fed(&["apply", "-f", "-"], &moved).await;
    assert_eq!(said.code, 4, "{said:#?}");
    assert!(said.err.contains("cannot become"), "{said:#?}");
    assert_eq!(cli.fed(&["apply", "-f", "-"], "").await.code, 2, "nothing is no manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_may_run_out_and_a_question_may_find_no_terminal() {
    let (_setup, _server, cli) = start("").await;
    cli.file("slow.yaml", &thing("slow", "{_fake: {pending_ms: 60000}}"));
    let line = cli.fails("apply -f slow.yaml --wait --timeout 200ms", 124).await;
    assert!(line.contains("fake.thing/slow") && line.contains("it is creat"), "{line}");
    let line = cli.fails("wait thing/slow --timeout 200ms", 124).await;
    assert!(line.contains("it is creating after 200ms"), "{line}");

    cli.file("m.yaml", &format!("{}---\n{}", file("a", "x"), file("b", "x")));
    cli.ok("apply -f m.yaml --wait").await;
    let said = cli.run("delete -l app=site").await;
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(said.err.contains("local.file/a") && said.err.contains("--yes"), "{said:#?}");
    assert_eq!(cli.ok("get file -o name").await.lines().count(), 2, "something was deleted");
    cli.fails("delete", 2).await;
    cli.fails("delete file/a -l app=site", 2).await;
    let said = cli.run("delete -l app=site --yes --wait -o json").await;
    assert_eq!(said.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(cli.ok("get file -o name").await, "");
}
