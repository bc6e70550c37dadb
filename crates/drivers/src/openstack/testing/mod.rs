//! A client connected to a stub, for tests of the client and of the kinds.

mod stub;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::id::{Attempt, ExternalId};
use stateward_domain::ports::driver::{CallContext, CallControl};
use stateward_domain::time::ManualClock;

use tokio::sync::Notify;

use super::client::{CallClient, Client};
use super::cloud::{Cloud, Environment};
pub(super) use stub::{Answer, Asked, LOGIN, Stub, login, stub};

/// The engine's side of a call.
pub(super) struct Control {
    pub(super) may_send: AtomicBool,
    ends: Mutex<Instant>,
    /// Notified when the remaining time is read.
    pub(super) asked: Notify,
    pub(super) recorded: Mutex<Vec<String>>,
}

#[async_trait]
impl CallControl for Control {
    fn may_send(&self) -> bool {
        self.may_send.load(Ordering::SeqCst)
    }

    fn remaining(&self) -> Duration {
        self.asked.notify_one();
        self.ends.lock().unwrap().saturating_duration_since(Instant::now())
    }

    async fn cancelled(&self) {
        std::future::pending::<()>().await;
    }

    async fn record_id(&self, id: &ExternalId) -> Result<(), Failure> {
        self.recorded.lock().unwrap().push(id.0.clone());
        Ok(())
    }
}

impl Control {
    /// Sets the remaining time, from now.
    pub(super) fn leave(&self, left: Duration) {
        *self.ends.lock().unwrap() = Instant::now() + left;
    }
}

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
        let control = Arc::new(Control {
            may_send: AtomicBool::new(true),
            ends: Mutex::new(Instant::now() + Duration::from_secs(10)),
            recorded: Mutex::default(),
            asked: Notify::new(),
        });
        let clock = ManualClock::new();
        let context = CallContext { attempt: Attempt(1), control: control.clone() };
        Self { client: Client::new(cloud, clock.clone()).unwrap(), clock, control, context }
    }

    pub(super) fn client(&self) -> CallClient<'_> {
        CallClient::new(&self.client, &self.context)
    }
}
