//! Verbs that send one action to one or many entities: refresh, retry, pause, resume, release, protect.

use clap::Args;
use serde_json::json;

use crate::change::bulk::{self, BulkOptions};
use crate::client::Request;
use crate::exit::{CliError, Exit};
use crate::select::{AllowEmpty, Selection};
use crate::verb_context::{ClientCommand, CommandContext};

/// The arguments of such a verb.
#[derive(Args)]
pub(crate) struct EntityAction {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    empty: AllowEmpty,
    #[command(flatten)]
    options: BulkOptions,
}

impl EntityAction {
    /// `words` = the verb of the question, and the word printed for each result.
    async fn each(
        self,
        context: &CommandContext,
        words: (&str, &'static str),
        request: impl Fn(&str) -> Request + Send + Sync,
    ) -> anyhow::Result<Exit> {
        if self.selection.is_empty() {
            let verb = words.0;
            return Err(CliError::usage(format!(
                "name what to {verb}, or select it (-l, --state, …)"
            )));
        }
        let selected = self.selection.resolve(&context.client).await?;
        self.empty.check(&selected)?;
        bulk::apply_to_all(context, selected, &self.options, words, request).await
    }

    async fn action(
        self,
        context: &CommandContext,
        name: &str,
        word: &'static str,
    ) -> anyhow::Result<Exit> {
        let request = |id: &str| Request::post(format!("/v1/entities/{id}/actions/{name}"));
        self.each(context, (name, word), request).await
    }
}

macro_rules! actions {
    ($($verb:ident($name:literal, $word:literal);)*) => {$(
        #[derive(Args)]
        pub(crate) struct $verb {
            #[command(flatten)]
            act: EntityAction,
        }

        impl ClientCommand for $verb {
            async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
                self.act.action(context, $name, $word).await
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
    act: EntityAction,
}

impl ClientCommand for Protect {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let words = if self.off { ("unprotect", "unprotected") } else { ("protect", "protected") };
        let patch = json!({ "protected": !self.off });
        let request = |id: &str| Request::patch(format!("/v1/entities/{id}")).merge_patch(&patch);
        self.act.each(context, words, request).await
    }
}
