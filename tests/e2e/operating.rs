//! Operating a server: metrics, probes and logs, and the limits that protect callers from each other.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Client, Setup, World, condition, text, thing, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_say_what_waits_for_a_person() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let server = setup.start().await;
    let client = &server.client;
    client.thing("fine", json!({ "size": 1 })).await;
    let dead = thing("dead", json!({ "_fake": { "panic": "create" } }));
    client.waited(Method::POST, "/v1/entities", dead).await;
    let asks = thing("asks", json!({ "_fake": { "fail": { "create": "already_exists" } } }));
    let reply = client.send(Method::POST, "/v1/entities", Some(&asks), &[]).await.unwrap();
    let id = text(&reply.body["entity"]["id"]);
    until("it asks", async || condition(&client.entity(&id).await, "blocked").then_some(())).await;

    let expected = [
        "stateward_entities{backend=\"sandbox\",kind=\"fake.thing\",state=\"ok\"} 1",
        "stateward_entities{backend=\"sandbox\",kind=\"fake.thing\",state=\"erred\"} 1",
        "stateward_blocked{backend=\"sandbox\",reason=\"DecisionNeeded\"} 1",
        "stateward_dead_letters 1",
        "stateward_breaker_open{backend=\"sandbox\"} 0",
        "stateward_oldest_due_seconds{backend=\"sandbox\"}",
        "stateward_clock_skew_seconds 0",
        "stateward_projection_lag_seconds{name=\"entities\"}",
        "stateward_projection_lag_seconds{name=\"sync_queue\"}",
        "stateward_request_seconds_bucket{method=\"POST\",path=\"/v1/entities\",status=\"202\"",
        "stateward_round_seconds_count{backend=\"sandbox\"}",
    ];
    until("the metrics say so", async || {
        let metrics = client.metrics().await;
        assert!(!metrics.contains(&id), "an entity is named");
        expected.iter().all(|line| metrics.contains(line)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_an_owner_here_are_counted_and_left_alone() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    server.client.thing("one", json!({ "size": 1 })).await;
    server.terminate().await;
    let counted = async |client: &Client, count: u32| {
        let line = format!("stateward_unknown_objects{{backend=\"sandbox\"}} {count}\n");
        until(&line, async || client.metrics().await.contains(&line).then_some(())).await;
    };
    let elsewhere = setup.folder.path().join("elsewhere");
    let mut stranger = setup.start_in(&elsewhere).await;
    counted(&stranger.client, 1).await;
    assert_eq!(world.counts().await.objects, 1);
    stranger.terminate().await;
    let server = setup.start().await;
    server.client.thing("two", json!({ "size": 1 })).await;
    counted(&server.client, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_followed_from_its_answer_to_its_events() {
    let setup = Setup::new("");
    let mut command = setup.command();
    command.env("RUST_LOG", "info,stateward_api=debug");
    let server = setup.run(command).await.unwrap();
    let body = thing("followed", json!({ "size": 1 }));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = server.client.request(Method::POST, "/v1/entities").json(&body);
    let request = request.header("traceparent", format!("00-{trace}-0123456789abcdef-01"));
    let response = request.send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: serde_json::Value = response.json().await.unwrap();
    let events = format!("/v1/entities/{}/events", text(&body["entity"]["id"]));
    assert_eq!(server.client.get(&events).await.body["items"][0]["request_id"], id);
    until("the log names request and trace", async || {
        let said = server.said();
        (said.contains(&id) && said.contains(trace)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_over_its_rate_gets_429_and_others_do_not() {
    let setup = Setup::new("[server]\nrate_per_token = 5\n");
    let server = setup.start().await;
    let admin = &server.client;
    let body = json!({ "actor": "hasty", "grants": [{ "role": "viewer" }] });
    let reply = admin.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    let hasty = admin.with_token(&text(&reply.body["value"]));
    let mut refused = 0;
    for _ in 0..20 {
        let response = hasty.request(Method::GET, "/v1/kinds").send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            assert!(response.headers().contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused} of 20 refused");
    assert_eq!(admin.get("/v1/kinds").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_nothing_goes_over_the_network_in_the_clear() {
    let setup = Setup::new("[server]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, folder) = (made.cert.pem(), setup.folder.path());
    std::fs::write(folder.join("cert.pem"), &certificate).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let manifest = "{\"kind\": \"fake.thing\", \"name\": \"applied\", \"backend\": \"sandbox\", \"desired\": {}}";
    std::fs::write(folder.join("applied.json"), manifest).unwrap();
    let mut command = setup.command();
    command.arg("--apply").arg(folder.join("applied.json"));
    let server = setup.run(command).await.unwrap();

    let url = server.client.url.replace("127.0.0.1", "localhost");
    assert!(url.starts_with("https://"), "{url}");
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let trusting = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve("localhost", ([127, 0, 0, 1], 0).into())
        .build()
        .unwrap();
    let get = || trusting.get(format!("{url}/v1/entities")).bearer_auth(&server.client.token);
    until("what was applied is there", async || {
        let body: serde_json::Value = get().send().await.ok()?.json().await.ok()?;
        (body["items"][0]["name"] == "applied").then_some(())
    })
    .await;
    let plain = url.replace("https://", "http://");
    assert!(trusting.get(format!("{plain}/livez")).send().await.is_err(), "answers in the clear");
    let stranger = server.client.request(Method::GET, "/livez").send().await;
    assert!(stranger.is_err(), "a certificate that nobody vouches for is trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_presented_after_sighup_and_a_broken_one_is_not() {
    let setup = Setup::new("[server]\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n");
    let folder = setup.folder.path();
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
    };
    let first = renew();
    let server = setup.run(setup.command()).await.unwrap();
    let url = server.client.url.replace("127.0.0.1", "localhost");
    let answers = |root: &reqwest::Certificate| {
        // A new client each time: an established connection keeps its certificate.
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([root.clone()])
            .resolve("localhost", ([127, 0, 0, 1], 0).into());
        let request = client.build().unwrap().get(format!("{url}/livez"));
        async move { request.send().await.is_ok() }
    };
    let hang_up =
        || rustix::process::kill_process(server.pid(), rustix::process::Signal::HUP).unwrap();
    assert!(answers(&first).await);
    let second = renew();
    assert!(answers(&first).await, "files are read when the signal comes");
    hang_up();
    until("the new one is presented", async || answers(&second).await.then_some(())).await;
    assert!(!answers(&first).await);

    std::fs::write(folder.join("key.pem"), "no key").unwrap();
    hang_up();
    until("it says so", async || server.said().contains("key.pem").then_some(())).await;
    assert!(answers(&second).await, "the earlier one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_is_shed_while_probes_answer() {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[server]\nin_flight_max = 4\nwaiting_max = 3\n\
         [backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\n",
        world.url
    ));
    let server = setup.start().await;
    let client = &server.client;
    client.thing("first", json!({ "size": 1 })).await;
    world.latency(60_000).await;
    let caller = client.clone();
    let waits = move |name: &str, seconds: u32| {
        let body = thing(name, json!({ "size": 1 }));
        let request = caller.request(Method::POST, "/v1/entities").json(&body);
        request.header("Prefer", format!("wait={seconds}")).send()
    };
    // Three wait. The fourth has no place, and is answered at once: `Prefer` is not binding.
    let applied =
        |response: &reqwest::Response| response.headers().contains_key("preference-applied");
    let held = ["a", "b", "c"].map(|name| {
        let waits = waits.clone();
        tokio::spawn(async move {
            // The request below may have taken the place, and no wait lasts for ever.
            for turn in 0.. {
                waits(&format!("{name}{turn}"), 20).await.unwrap();
            }
        })
    });
    let turns = std::sync::atomic::AtomicU32::new(0);
    until("nobody else may wait", async || {
        let turn = turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let response = waits(&format!("d{turn}"), 1).await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        (!applied(&response)).then_some(())
    })
    .await;
    let slow = std::sync::Mutex::new(Vec::new());
    let refused = until("it sheds", async || {
        // A new one each time: this request itself may have taken the last place.
        let one = stalled(client.url.trim_start_matches("http://"), &client.token);
        slow.lock().unwrap().push(one);
        let response = client.request(Method::GET, "/v1/kinds").send().await.unwrap();
        (response.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(response)
    })
    .await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    for probe in ["/livez", "/readyz", "/metrics"] {
        let response = client.request(Method::GET, probe).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{probe}");
    }
    drop(slow);
    for one in held {
        one.abort();
    }
    until("it serves again", async || {
        (client.get("/v1/kinds").await.status == StatusCode::OK).then_some(())
    })
    .await;
}

/// A request whose body does not arrive: it is in flight until it times out.
fn stalled(address: &str, token: &str) -> std::net::TcpStream {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: 10\r\nAuthorization: Bearer {token}\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    client.thing("first", json!({ "size": 1 })).await;
    let packaging = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let mut names = std::collections::BTreeSet::new();
    for file in ["prometheus/alerts.yml", "grafana/stateward.json"] {
        let text = std::fs::read_to_string(packaging.join(file)).unwrap();
        serde_norway::from_str::<serde_norway::Value>(&text).expect(file);
        for rest in text.split("stateward_").skip(1) {
            let word = |c: &char| c.is_ascii_lowercase() || *c == '_';
            names
                .insert(format!("stateward_{}", rest.chars().take_while(word).collect::<String>()));
        }
    }
    assert!(names.len() >= 8, "{names:?}");
    until("they are all there", async || {
        let metrics = client.metrics().await;
        let known = |name: &String| {
            metrics.contains(&format!("{name}{{")) || metrics.contains(&format!("{name} "))
        };
        // Nothing is blocked here, so only the type of that gauge is exposed.
        names.iter().all(known).then_some(())
    })
    .await;
}
