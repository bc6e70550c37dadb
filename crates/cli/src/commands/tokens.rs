//! `stateward tokens`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{ChangeReason, Request, escaped};
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::{Output, time};
use crate::presentation::render::access::TOKEN;
use crate::presentation::terminal;
use crate::select::check_namespace;
use crate::server::admin_token;
use crate::verb_context::{ClientCommand, CommandContext};

const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward tokens\n  \
    stateward tokens issue ci --grant operator@physics --expires 720h --to ci.token\n  \
    stateward tokens revoke 0199c7f1-0000-7000-8000-000000000001")]
pub(crate) struct Tokens {
    #[command(subcommand)]
    verb: Option<TokenVerb>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum TokenVerb {
    /// List the tokens, without their values
    #[command(after_help = "Example:\n  stateward tokens list")]
    List,
    /// Issue a token; its value is shown only once
    #[command(
        after_help = "Examples:\n  stateward tokens issue ci --grant operator@physics --to ci.token\n  \
        stateward tokens issue auditor --grant viewer --expires 24h"
    )]
    Issue(Issue),
    /// Revoke a token, effective at once
    #[command(
        after_help = "Example:\n  stateward tokens revoke 0199c7f1-0000-7000-8000-000000000001"
    )]
    Revoke {
        id: String,
        #[command(flatten)]
        why: ChangeReason,
    },
}

#[derive(Args)]
struct Issue {
    /// Whose it is: an id, which the history names
    actor: String,
    /// ROLE everywhere, or ROLE@NAMESPACE; roles are viewer, operator, admin; may be repeated
    #[arg(long = "grant", value_name = "ROLE[@NAMESPACE]", required = true, value_parser = Grant::parse)]
    grants: Vec<Grant>,
    /// When it ends: in so long (720h) or at this time [default: never]
    #[arg(long, value_name = "DURATION|TIME", allow_hyphen_values = true)]
    expires: Option<String>,
    /// Write the value into this new file, for its owner alone, and do not show it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    why: ChangeReason,
}

impl ClientCommand for Tokens {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let client = &context.client;
        match self.verb.unwrap_or(TokenVerb::List) {
            TokenVerb::List => {
                let items = client.items("/v1/tokens").await?;
                context.print_list(&TOKEN, &items, self.output)?;
            }
            TokenVerb::Issue(issue) => issue.run(context, self.output).await?,
            TokenVerb::Revoke { id, why } => {
                let request = Request::delete(format!("/v1/tokens/{}", escaped(&id)));
                let sent = client.with_reason(&why).send(&request).await;
                sent.with_context(|| format!("token {id}"))?;
                terminal::note(&format!("token {id} revoked"));
            }
        }
        Ok(Exit::Ok)
    }
}

impl Issue {
    async fn run(self, context: &CommandContext, output: Output) -> anyhow::Result<()> {
        use crate::presentation::output::Format;
        let expires = self.expires.as_deref();
        let expires_at = expires.map(|text| time::future(text, context.now)).transpose()?;
        for name in self.grants.iter().filter_map(|grant| grant.namespace.as_deref()) {
            check_namespace(&context.client, name).await?;
        }
        let grants: Vec<_> = self.grants.iter().map(Grant::body).collect();
        let body = json!({ "actor": self.actor, "grants": grants, "expires_at": expires_at });
        // Before the token is issued: a value that cannot be written would be lost.
        let file = self.to.as_deref().map(admin_token::create_private_file).transpose()?;
        // Not retried: the first token would stay valid, and its value may have been intercepted.
        let request = Request::post("/v1/tokens").json(&body).not_repeatable();
        let issued = context.client.with_reason(&self.why).send(&request).await;
        let mut issued = match (issued, &self.to) {
            (Ok(issued), _) => issued,
            (Err(error), Some(path)) => {
                // The file is empty: no token was issued.
                let _ = std::fs::remove_file(path);
                return Err(error);
            }
            (Err(error), None) => return Err(error),
        };
        if let (Some(mut file), Some(path)) = (file, &self.to) {
            let written = std::io::Write::write_all(&mut file, text(&issued, "/value").as_bytes());
            written.with_context(|| format!("cannot write {}", path.display()))?;
            if let Some(members) = issued.as_object_mut() {
                members.remove("value");
            }
            terminal::note(&format!("the token is in {}", path.display()));
        }
        let shown = text(&issued, "/value");
        if shown.is_empty() || matches!(output.format, Format::Json | Format::Yaml) {
            return context.print_one(&TOKEN, &issued, output);
        }
        let id = text(&issued, "/id");
        terminal::note(&format!("token {id} of {}; its value is shown this once:", self.actor));
        terminal::print(&shown)
    }
}

/// A role, everywhere or in one namespace.
#[derive(Clone, Debug)]
struct Grant {
    role: String,
    namespace: Option<String>,
}

impl Grant {
    fn parse(text: &str) -> Result<Self, String> {
        let (role, namespace) = match text.split_once('@') {
            Some((role, namespace)) => (role, Some(namespace.to_owned())),
            None => (text, None),
        };
        if !ROLES.contains(&role) {
            return Err(format!("`{role}` is no role: they are {}", ROLES.join(", ")));
        }
        Ok(Self { role: role.to_owned(), namespace })
    }

    fn body(&self) -> Value {
        match &self.namespace {
            Some(namespace) => json!({ "role": self.role, "namespace": namespace }),
            None => json!({ "role": self.role }),
        }
    }
}
