//! `stateward set`.

use clap::Args;
use serde_json::{Value, json};

use crate::change::one_entity::{self, ChangeOptions};
use crate::client::Request;
use crate::exit::Exit;
use crate::field_arguments;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward set volume/db size=20 --wait            # it grows\n  \
    stateward set server/web flavorRef=m1.large       # it is resized\n  \
    stateward set server/web 'volumes=[{\"$ref\": \"openstack.volume/db\"}]'    # it is attached\n  \
    stateward set file/motd mode=null                 # not managed any more\n\n\
    What is set is not what a manifest says: the next apply of one that says otherwise sets it back."
)]
pub(crate) struct Set {
    /// The entity
    #[arg(value_name = "KIND/NAME|ID")]
    target: String,
    /// Fields of the desired state; a.b or /a/b for a nested member, null removes one. A value has the type that the kind's
    /// schema says: content=123 is a text where only texts are allowed. Without one it is JSON if it parses, else a text
    #[arg(value_name = "FIELD=VALUE", required = true)]
    fields: Vec<String>,
    /// Allow this change to replace the object, where a field cannot change in place
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    options: ChangeOptions,
}

impl ClientCommand for Set {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let replace = self.replace.then_some("true");
        let request = |id: &str, kind: &Value| {
            let desired = field_arguments::document(&self.fields, &kind["schema"])?;
            Ok(Request::patch(format!("/v1/entities/{id}"))
                .merge_patch(&json!({ "desired": desired }))
                .maybe("replace", replace))
        };
        one_entity::apply_with_kind(context, &self.target, &self.options, "changing", request).await
    }
}
