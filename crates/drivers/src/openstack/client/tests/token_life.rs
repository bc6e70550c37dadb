//! When a token is renewed.

use super::*;

#[tokio::test]
async fn a_token_that_ends_with_its_credential_is_renewed_before() {
    let stub = Stub::new(|asked, before| {
        if asked.path != LOGIN {
            return ok(asked, before);
        }
        // Keystone repeats the end of an application credential as it was stored, without a time zone.
        let body = json!({"token": {
            "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2026-01-01T00:00:01.000000",
            "project": {"id": "p1"}, "catalog": [{"type": "network", "endpoints": [{
                "interface": "public", "region_id": "RegionOne",
                "url": format!("http://{}/network", asked.headers["host"]),
            }]}],
        }});
        let headers = vec![("X-Subject-Token", format!("token-{}", before + 1))];
        Answer::Reply(201, headers, body.to_string())
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    setup.get(Service::Network).await.unwrap();
    setup.clock.advance(Duration::from_millis(750));
    setup.get(Service::Network).await.unwrap();
    assert_eq!(stub.logins(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_at_three_quarters_of_its_life() {
    let stub =
        Stub::with_life(
            "PT1S",
            |asked, before| {
                if asked.path == LOGIN { login() } else { ok(asked, before) }
            },
        );
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    setup.get(Service::Network).await.unwrap();
    setup.clock.advance(Duration::from_millis(749));
    setup.get(Service::Network).await.unwrap();
    assert_eq!(stub.logins(), 1);
    setup.clock.advance(Duration::from_millis(1));
    setup.get(Service::Network).await.unwrap();
    assert_eq!(stub.logins(), 2);
    assert_eq!(stub.asked("/network")[2].headers["x-auth-token"], "token-2");
}
