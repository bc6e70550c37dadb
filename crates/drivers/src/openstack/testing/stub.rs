//! A stub of a cloud: answers logins with tokens, and everything else by a script.

use serde_json::{Value, json};

use crate::http::testing::{Answer, Asked, Stub};

impl Answer {
    pub(in crate::openstack) fn json(status: u16, body: Value) -> Self {
        let echo = ("OpenStack-API-Version", "compute 2.79, volume 3.59".to_owned());
        let volume = ("OpenStack-API-Version", "volume 3.59".to_owned());
        let id = ("X-Openstack-Request-Id", "req-1".to_owned());
        Self::Reply(status, vec![echo, volume, id], body.to_string())
    }
}

impl Stub {
    /// Answers logins with tokens valid for an hour, and everything else by `script`, which gets the number of earlier
    /// requests to the same path.
    pub(in crate::openstack) async fn new(
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::with_life("PT1H", script).await
    }

    /// The same with another token lifetime.
    pub(in crate::openstack) async fn with_life(
        life: &'static str,
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::scripted(|url| {
            let url = url.to_owned();
            move |asked: &Asked, before| match script(asked, before) {
                Answer::Reply(0, ..) => token(&url, life, before),
                other => other,
            }
        })
        .await
    }

    pub(in crate::openstack) fn logins(&self) -> usize {
        self.asked(LOGIN).len()
    }
}

pub(in crate::openstack) const LOGIN: &str = "/v3/auth/tokens";

/// Logins succeed; everything else is answered by `script`.
pub(in crate::openstack) async fn stub(
    script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
) -> Stub {
    Stub::new(
        move |asked, before| {
            if asked.path == LOGIN { login() } else { script(asked, before) }
        },
    )
    .await
}

/// For scripts: the standard answer to a login.
pub(in crate::openstack) fn login() -> Answer {
    Answer::Reply(0, Vec::new(), String::new())
}

/// The n-th token has the value `token-n`.
fn token(url: &str, life: &str, before: usize) -> Answer {
    let issued: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let life: jiff::SignedDuration = life.parse().unwrap();
    let service = |kind: &str, url: String| {
        let endpoint = |interface: &str| {
            json!({"interface": interface, "region_id": "RegionOne", "url": if interface == "public" {
                url.clone()
            } else {
                "http://192.0.2.1/never".to_owned()
            }})
        };
        json!({"type": kind, "endpoints": [endpoint("internal"), endpoint("public")]})
    };
    // A region that has Neutron alone.
    let bare = json!({"type": "network", "endpoints": [
        {"interface": "public", "region_id": "RegionThree", "url": format!("{url}/network")},
    ]});
    let body = json!({"token": {
        "issued_at": issued.to_string(), "expires_at": (issued + life).to_string(),
        "project": {"id": "p1"}, "user": {"id": "u1"},
        "catalog": [
            service("compute", format!("{url}/compute/v2.1")),
            service("volumev3", format!("{url}/volume/v3/p1")),
            service("network", format!("{url}/network")),
            service("image", format!("{url}/image/")),
            service("identity", format!("{url}/identity")),
            bare,
        ],
    }});
    let headers = vec![("X-Subject-Token", format!("token-{}", before + 1))];
    Answer::Reply(201, headers, body.to_string())
}
