//! Entities that refer to each other: declared in any order, deleted together.

use std::time::{Duration, Instant};

use super::{LOCAL, start, thing};

/// The last one first, as files may have it.
fn stack() -> String {
    [
        thing("server", "{net: {$ref: fake.thing/subnet}}"),
        thing("subnet", "{net: {$ref: fake.thing/network}}"),
        thing("network", "{size: 1}"),
        thing("apart", "{size: 2}"),
    ]
    .join("---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_goes_as_it_came() {
    let (_setup, _server, cli) = start(LOCAL).await;
    let manifests = cli.file("stack.yaml", &stack());
    for _ in 0..2 {
        let said = cli.ok(&format!("apply -f {manifests} --wait")).await;
        assert_eq!(said.matches("created").count(), 4, "{said}");
        let page = cli.ok("describe thing/subnet").await;
        for part in ["Uses:         fake.thing/network\n", "Used by:      fake.thing/server\n"] {
            assert!(page.contains(part), "nothing of {part}: {page}");
        }
        let shown = cli.ok("get thing/subnet -o yaml").await;
        let again = cli.file("again.yaml", &shown);
        let said = cli.ok(&format!("apply -f {again}")).await;
        assert!(said.contains("unchanged"), "what was shown is what was asked for: {said}");
        cli.ok(&format!("delete -f {manifests} --wait")).await;
        assert_eq!(cli.ok("get thing -o name").await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_shows_what_it_would_take_along() {
    let (_setup, _server, cli) = start(LOCAL).await;
    let manifests = cli.file("stack.yaml", &stack());
    cli.ok(&format!("apply -f {manifests} --wait")).await;
    let said = cli.run("delete thing/network --cascade").await;
    assert_eq!(said.code, 2, "{said:#?}");
    for name in ["fake.thing/network", "fake.thing/subnet", "fake.thing/server", "--yes"] {
        assert!(said.err.contains(name), "nothing of {name}: {said:#?}");
    }
    assert!(!said.err.contains("apart"), "{said:#?}");
    cli.ok("delete thing/network --cascade --yes --wait").await;
    assert_eq!(cli.ok("get thing -o name").await, "fake.thing/apart\n");
    // Entities without dependents are deleted without a question.
    cli.ok("delete thing/apart --cascade --wait").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_dependent_keeps_is_not_waited_for() {
    let (_setup, _server, cli) = start(LOCAL).await;
    let manifests = cli.file("stack.yaml", &stack());
    cli.ok(&format!("apply -f {manifests} --wait")).await;
    let began = Instant::now();
    let said = cli.fails("delete thing/subnet --wait", 4).await;
    assert!(began.elapsed() < Duration::from_mins(1), "it waited for its time to be over");
    assert!(said.contains("fake.thing/server uses it and is not being deleted"), "{said}");
    // It was accepted, and goes on by itself.
    cli.ok("delete thing/server --wait").await;
    cli.ok("wait thing/subnet --for deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_cloud_s_stack_is_accepted() {
    // A declaration is checked without a call to the backend: there is no cloud.
    let cloud = "[backends.cloud]\ndriver = \"openstack\"\nauth_url = \"http://127.0.0.1:9/v3\"\n\
        username = \"u\"\npassword = \"p\"\nproject_name = \"p\"\nuser_domain_name = \"Default\"\n\
        project_domain_name = \"Default\"\n";
    let (_setup, _server, cli) = start(cloud).await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/openstack");
    let said = cli.run(&format!("apply -f {example} --dry-run")).await;
    assert_eq!(said.code, 0, "{said:#?}");
    assert_eq!(said.out.matches("openstack.").count(), 20, "{said:#?}");
}
