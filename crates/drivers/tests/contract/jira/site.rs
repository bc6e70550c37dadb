//! A fake site with what the kinds need: projects, a component, a version, issues.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use stateward_domain::ports::driver::Driver;
use stateward_drivers::jira::fake::{Deployment, FakeJira, Options};

/// A site, and a driver that is connected to it.
pub(crate) struct Site {
    pub(crate) fake: FakeJira,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) deployment: Deployment,
}

/// How long reads lag.
pub(crate) const READ_LAG: Duration = Duration::from_millis(300);

/// Key of the project that every site has.
pub(crate) const PROJECT: &str = "BASE";

impl Site {
    pub(crate) async fn new(deployment: Deployment) -> Self {
        // Shorter lags than usual: every step of the contract waits for them.
        let options = Options {
            deployment,
            context_path: "/jira".to_owned(),
            search_lag: Duration::from_secs(1),
            read_lag: READ_LAG,
            task_time: Duration::from_millis(500),
            ..Options::default()
        };
        let fake = FakeJira::start(options).await.unwrap();
        let site = Self { driver: connect(&fake, deployment), fake, deployment };
        let lead = site.user("bot");
        let mut project = json!({
            "key": PROJECT, "name": "Base", "projectTypeKey": "software",
        });
        match deployment {
            Deployment::Cloud => project["leadAccountId"] = json!(lead),
            Deployment::DataCenter => project["lead"] = json!(lead),
        }
        site.make("project", &project);
        site.make("component", &json!({"project": PROJECT, "name": "API"}));
        site.make("version", &json!({"project": PROJECT, "name": "1.0"}));
        // Until reads show them.
        tokio::time::sleep(READ_LAG + Duration::from_millis(100)).await;
        site
    }

    /// Makes something past limits and lags; returns the reply.
    pub(crate) fn make(&self, path: &str, body: &Value) -> Value {
        let (status, reply) = self.fake.act("bot", "POST", path, body);
        assert!((200..300).contains(&status), "{path}: {status} {reply}");
        reply
    }

    /// Makes an issue; returns its id.
    pub(crate) fn issue(&self, summary: &str) -> String {
        let fields = json!({
            "project": {"key": PROJECT}, "issuetype": {"name": "Task"}, "summary": summary,
        });
        let reply = self.make("issue", &json!({ "fields": fields }));
        reply["id"].as_str().expect("an id").to_owned()
    }

    /// The id of a user.
    pub(crate) fn user(&self, name: &str) -> String {
        let account = self.fake.accounts().into_iter().find(|account| account.name == name);
        let account = account.expect("a user of every site");
        match self.deployment {
            Deployment::Cloud => account.account_id,
            Deployment::DataCenter => account.name,
        }
    }
}

/// A driver whose windows fit the lags of the fake.
pub(crate) fn connect(fake: &FakeJira, deployment: Deployment) -> Arc<dyn Driver> {
    let bot = fake.accounts().remove(0);
    let mut settings = json!({
        "url": fake.url(), "settle": "2s", "read_lag": "600ms", "project_deletion": "permanent",
    });
    match deployment {
        Deployment::Cloud => {
            settings["email"] = json!(bot.email);
            settings["api_token"] = json!(bot.token);
        }
        Deployment::DataCenter => settings["personal_access_token"] = json!(bot.token),
    }
    let Value::Object(settings) = settings else { unreachable!("an object") };
    let settings: Map<String, Value> = settings;
    crate::call_control::connect("jira", &settings).unwrap()
}
