//! Work that nodes share: what is asked of one is done by any.

use reqwest::{Method, StatusCode};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::Nodes;
use crate::cli::Cli;
use crate::harness::{text, thing, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_on_one_node_is_waited_for_read_and_listed_on_the_others() {
    let Some(nodes) = Nodes::start(3).await else { return };
    for round in 0..6 {
        let name = format!("thing-{round}");
        let (id, position) = nodes.declare(round, &name, json!({ "size": 1 })).await;
        // Read your writes on another node, and on lists of a third.
        let other = nodes.client(round + 1);
        assert_eq!(other.entity(&id).await["name"], name.as_str());
        let path = format!("/v1/entities?name={name}&wait_for={position}");
        let list = nodes.client(round + 2).get(&path).await;
        assert_eq!(list.status, StatusCode::OK, "{:#}", list.body);
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(1), "{:#}", list.body);
        // `Prefer: wait` on a node that need not run the round.
        let change = json!({ "desired": { "size": 2 } });
        let done = other.done(Method::PUT, &format!("/v1/entities/{id}"), change).await;
        assert_eq!(done.body["entity"]["state"], "ok");
    }
    nodes.world.counts().await.assert_none_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_repeated_on_another_node_gets_the_first_reply() {
    let Some(nodes) = Nodes::start(3).await else { return };
    let body = thing("keyed", json!({ "size": 1 }));
    let key = [("Idempotency-Key", "one")];
    let sends = (0..9).map(|node| {
        let (client, body) = (nodes.client(node).clone(), body.clone());
        tokio::spawn(async move {
            client.send(Method::POST, "/v1/entities", Some(&body), &key).await.unwrap()
        })
    });
    let mut ids = std::collections::BTreeSet::new();
    for sent in sends.collect::<Vec<_>>() {
        let reply = sent.await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
        ids.insert(text(&reply.body["entity"]["id"]));
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    let other = thing("keyed", json!({ "size": 2 }));
    let refused = nodes.client(1).send(Method::POST, "/v1/entities", Some(&other), &key).await;
    assert_eq!(refused.unwrap().status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_its_end_hold_on_every_node() {
    let Some(nodes) = Nodes::start(3).await else { return };
    let act = async |node: usize, verb: &str| {
        let path = format!("/v1/backends/sandbox/actions/{verb}");
        let body = json!({ "reason": "maintenance" });
        let body = (verb == "pause").then_some(&body);
        let reply = nodes.client(node).send(Method::POST, &path, body, &[]).await.unwrap();
        assert!(reply.status.is_success(), "{verb}: {:#}", reply.body);
    };
    act(0, "pause").await;
    for node in 0..3 {
        until("every node knows the pause", async || {
            let backend = nodes.client(node).get("/v1/backends/sandbox").await.body;
            backend.to_string().contains("maintenance").then_some(())
        })
        .await;
    }
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(nodes.declare(number, &format!("held-{number}"), json!({ "size": 1 })).await.0);
    }
    // Whichever node runs their rounds: they observe and change nothing.
    for (number, id) in ids.iter().enumerate() {
        let refresh = format!("/v1/entities/{id}/actions/refresh");
        nodes.client(number + 1).done(Method::POST, &refresh, json!({})).await;
    }
    assert_eq!(nodes.world.counts().await.objects, 0);
    act(2, "resume").await;
    for id in &ids {
        nodes.client(0).reaches(id, "ok").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_node_runs_no_work_and_a_worker_does_it() {
    let Some(mut nodes) = Nodes::start(0).await else { return };
    nodes.join("api").await;
    let (id, position) = nodes.declare(0, "waits", json!({ "size": 1 })).await;
    // Nothing projects either, so lists do not get there; the log itself does.
    let list = nodes.client(0).get(&format!("/v1/entities?wait_for={position}")).await;
    assert_eq!(list.status, StatusCode::SERVICE_UNAVAILABLE, "{:#}", list.body);
    assert_eq!(nodes.world.counts().await.objects, 0);
    let works = async || {
        let ready = nodes.client(0).get("/readyz").await.body;
        let checks = ready["checks"].as_array().expect("checks").clone();
        let nodes = checks.into_iter().find(|check| check["name"] == "nodes").expect("the check");
        nodes["ok"] == true
    };
    assert!(!works().await, "that no node works is shown");
    nodes.join("worker").await;
    nodes.client(0).reaches(&id, "ok").await;
    let path = format!("/v1/entities/{id}");
    nodes.client(0).done(Method::DELETE, &path, Value::Null).await;
    assert_eq!(nodes.world.counts().await.objects, 0);
}

/// A signal to one node, or a request to it, makes every node read its own files.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_one_node_was_asked_for_is_done_by_all() {
    let Some(nodes) = Nodes::start(2).await else { return };
    let backend = |name: &str| {
        format!("[backends.{name}]\ndriver = \"fake\"\nurl = \"{}\"\n", nodes.world.url)
    };
    let known = async |node: usize, name: &str| {
        until(&format!("node {node} knows {name}"), async || {
            let list = nodes.client(node).get("/v1/backends").await.body;
            list.to_string().contains(&format!("\"{name}\"")).then_some(())
        })
        .await;
    };
    let server = "[server]\nadmin_token = { file = \"secret\" }\n";
    for setup in &nodes.setups {
        setup.configure(&format!("{server}{}{}", backend("sandbox"), backend("second")));
    }
    kill_process(nodes.servers[0].pid(), Signal::HUP).unwrap();
    known(0, "second").await;
    known(1, "second").await;
    // One that is asked for over the interface is answered when every node has done it.
    for number in 3..8 {
        let new = format!("number-{number}");
        let all = ["sandbox", "second", new.as_str()].map(backend).join("");
        for setup in &nodes.setups {
            setup.configure(&format!("{server}{all}[namespaces.{new}]\n"));
        }
        let over = nodes.client(number);
        let reloaded = over.send(Method::POST, "/v1/backends/reload", None, &[]).await.unwrap();
        assert!(reloaded.status.is_success(), "{:#}", reloaded.body);
        for node in 0..2 {
            for path in ["/v1/backends", "/v1/namespaces"] {
                let list = nodes.client(node).get(path).await.body.to_string();
                assert!(list.contains(&new), "node {node}, {path}: {list}");
            }
        }
    }
}

/// A request that finds a rebuild under way waits for it and has its result: nodes that each began one ended each other's.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_asked_for_a_rebuild_at_once_do_one() {
    let Some(nodes) = Nodes::start(3).await else { return };
    let (id, _) = nodes.declare(0, "t", json!({ "size": 1 })).await;
    nodes.client(0).reaches(&id, "ok").await;
    // A node that is rebuilding when it dies; the others have all been asked before its duty ends.
    nodes.database.execute(
        "CREATE TABLE public.before AS SELECT last_value FROM stateward_views.tables; \
         INSERT INTO stateward_views.duties (name, member, until) \
         VALUES ('rebuild/entities', gen_random_uuid(), stateward_views.clock_or(NULL) + 5000000)",
    );
    let asked = (0..6).map(|number| {
        let client = nodes.client(number).clone();
        tokio::spawn(async move {
            let rebuild = "/v1/projections/entities/rebuild";
            client.send(Method::POST, rebuild, None, &[]).await.expect("an answer")
        })
    });
    for reply in asked.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
    }
    nodes.database.execute(
        "DO $$ BEGIN ASSERT (SELECT t.last_value - b.last_value = 1 \
         FROM stateward_views.tables t, public.before b), 'not one rebuild'; END $$",
    );
    for node in 0..3 {
        let list = nodes.client(node).get("/v1/entities").await.body;
        assert_eq!(list["items"][0]["id"], id.as_str(), "{list:#}");
    }
    // The duty was given back: the next one begins at once, on another node.
    let again = nodes.client(1).send(Method::POST, "/v1/projections/entities/rebuild", None, &[]);
    assert!(again.await.unwrap().status.is_success());
}

/// The reply names it, and so does the command, whose exit code says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_did_not_reload_as_the_others_is_named_until_it_does() {
    let Some(nodes) = Nodes::start(3).await else { return };
    let list = nodes.client(2).get("/v1/nodes").await.body;
    let answers = list["items"].as_array().unwrap().iter().find(|node| node["answers"] == true);
    let name = text(&answers.expect("it lists itself")["name"]);
    let backend = |name: &str, more: &str| {
        format!("[backends.{name}]\ndriver = \"fake\"\nurl = \"{}\"\n{more}", nodes.world.url)
    };
    let server = "[server]\nadmin_token = { file = \"secret\" }\n";
    let good = format!("{server}{}{}", backend("sandbox", ""), backend("second", ""));
    let other = format!("{server}{}{}", backend("sandbox", ""), backend("second", "rate = 9\n"));
    let folder = tempfile::tempdir().unwrap();
    let shell = Cli::new(folder.path())
        .with("STATEWARD_SERVER", &nodes.client(0).url)
        .with("STATEWARD_TOKEN", super::TOKEN);
    for setup in &nodes.setups {
        setup.configure(&good);
    }
    let broken = "[secrets]\nx = { file = \"not-there\" }\n".to_owned() + &good;
    for (configuration, reason) in
        [(&broken, Some("not-there")), (&other, Some("differs: second")), (&good, None)]
    {
        nodes.setups[2].configure(configuration);
        // A repetition of the request names them, too.
        let key = format!("reload-{}", reason.map_or("good", |reason| &reason[..3]));
        let headers = [("Idempotency-Key", key.as_str())];
        for _ in 0..2 {
            let reload = "/v1/backends/reload";
            let reply = nodes.client(0).send(Method::POST, reload, None, &headers).await.unwrap();
            assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
            let failed = reply.body["failed"].as_array().expect("always there");
            assert_eq!(failed.len(), usize::from(reason.is_some()), "{:#}", reply.body);
            let Some(reason) = reason else { continue };
            assert_eq!(failed[0]["node"], name.as_str());
            assert!(text(&failed[0]["error"]).contains(reason), "{:#}", reply.body);
        }
        let said = shell.run("backends reload").await;
        assert_eq!(said.code, i32::from(reason.is_some()), "{said:#?}");
        let named = said.err.contains(&format!("node {name} did not reload"));
        assert_eq!(named, reason.is_some(), "{said:#?}");
        assert!(said.out.contains("second"), "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_shows_the_lag_of_the_checkpoint_in_events_and_its_own_appends() {
    let Some(nodes) = Nodes::start(2).await else { return };
    let (id, _) = nodes.declare(0, "t", json!({ "size": 1 })).await;
    nodes.client(0).reaches(&id, "ok").await;
    for node in 0..2 {
        until("the metrics say so", async || {
            let metrics = nodes.client(node).metrics().await;
            assert!(
                metrics.contains("# TYPE stateward_append_batch_events summary\n"),
                "{metrics}"
            );
            assert!(metrics.contains("\nstateward_failovers_total 0\n"), "{metrics}");
            let lags = ["events", "seconds"]
                .map(|unit| format!("stateward_projection_lag_{unit}{{name=\"entities\"}} 0\n"));
            lags.iter().all(|line| metrics.contains(line)).then_some(())
        })
        .await;
    }
}
