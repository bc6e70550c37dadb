//! A client connected to a stub, for tests of the client and of the kinds.

mod stub;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stateward_domain::id::Attempt;
use stateward_domain::ports::driver::CallContext;
use stateward_domain::time::ManualClock;

use super::client::{CallClient, Client};
use super::cloud::{Cloud, Environment};
pub(super) use crate::http::testing::{Answer, Asked, Control, Stub};
pub(super) use stub::{LOGIN, login, stub};

/// A client, and the context of a call.
pub(super) struct Setup {
    pub(super) client: Client,
    pub(super) control: Arc<Control>,
    /// Moves only on request.
    pub(super) clock: Arc<ManualClock>,
    context: CallContext,
}

impl Setup {
    /// With password credentials; the password is `hush`.
    pub(super) fn new(url: &str) -> Self {
        let settings = json!({
            "auth_url": url, "username": "u", "password": "hush", "project_name": "p",
            "region_name": "RegionOne",
        });
        let Value::Object(settings) = settings else { unreachable!("an object") };
        Self::with(&settings)
    }

    pub(super) fn with(settings: &Map<String, Value>) -> Self {
        let cloud = Cloud::resolve(settings, &Environment { variable: |_| None }).unwrap();
        let control = Control::new();
        let clock = ManualClock::new();
        let context = CallContext { attempt: Attempt(1), control: control.clone() };
        Self { client: Client::new(cloud, clock.clone()).unwrap(), clock, control, context }
    }

    pub(super) fn client(&self) -> CallClient<'_> {
        CallClient::new(&self.client, &self.context)
    }
}
