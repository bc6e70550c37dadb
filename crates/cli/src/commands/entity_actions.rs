//! Verbs that send one action to one or many entities: refresh, retry, pause, resume, release, protect.

use clap::Args;
use serde_json::json;

use crate::change::bulk::{self, BulkOptions};
use crate::client::Request;
use crate::context::{Run, Session};
use crate::exit::{CliError, Exit};
use crate::select::{Emptiness, Selection};

/// The arguments of such a verb.
#[derive(Args)]
pub(crate) struct Act {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    emptiness: Emptiness,
    #[command(flatten)]
    options: BulkOptions,
}

impl Act {
    /// `words` = the verb of the question, and the word printed for each result.
    async fn each(
        self,
        session: &Session,
        words: (&str, &'static str),
        request: impl Fn(&str) -> Request + Send + Sync,
    ) -> anyhow::Result<Exit> {
        if self.selection.is_empty() {
            let verb = words.0;
            return Err(CliError::usage(format!(
                "name what to {verb}, or select it (-l, --state, …)"
            )));
        }
        let selected = self.selection.resolve(&session.client).await?;
        self.emptiness.check(&selected)?;
        bulk::apply_to_all(session, selected, &self.options, words, request).await
    }

    async fn action(
        self,
        session: &Session,
        name: &str,
        word: &'static str,
    ) -> anyhow::Result<Exit> {
        let request = |id: &str| Request::post(format!("/v1/entities/{id}/actions/{name}"));
        self.each(session, (name, word), request).await
    }
}

macro_rules! actions {
    ($($verb:ident($name:literal, $word:literal);)*) => {$(
        #[derive(Args)]
        pub(crate) struct $verb {
            #[command(flatten)]
            act: Act,
        }

        impl Run for $verb {
            async fn run(self, session: &Session) -> anyhow::Result<Exit> {
                self.act.action(session, $name, $word).await
            }
        }
    )*};
}

actions! {
    Refresh("refresh", "refreshing");
    Retry("retry", "retrying");
    Pause("pause", "paused");
    Resume("resume", "resumed");
    Release("release", "released");
}

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward protect file/motd\n  stateward protect -l tier=1 --yes\n  \
    stateward protect --off file/motd"
)]
pub(crate) struct Protect {
    /// Allow deletion again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    act: Act,
}

impl Run for Protect {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let words = if self.off { ("unprotect", "unprotected") } else { ("protect", "protected") };
        let patch = json!({ "protected": !self.off });
        let request = |id: &str| Request::patch(format!("/v1/entities/{id}")).merge_patch(&patch);
        self.act.each(session, words, request).await
    }
}
