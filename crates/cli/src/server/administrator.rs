//! Which token is the first administrator's: the configured one, else that of a file, which the processes of a shared store
//! have in common.

use std::path::Path;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use stateward_api::AdminToken;
use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_engine::Engine;

use crate::server::admin_token;
use crate::server::config::Config;

/// Actor of the declaration in the log.
const ACTOR: &str = "serve";

/// A token that this process accepts as the first administrator's, and how it recognises all such tokens. Without a
/// configured one, a store of one process has the token of the file in `directory`, which the first start creates. In a
/// shared store the first process declares its token in the log; the others accept that one and write no file.
///
/// # Errors
/// A file or a variable that cannot be read or written; a log that cannot be written.
pub(crate) async fn of(
    config: &Config,
    directory: &Path,
    engine: &Engine,
) -> anyhow::Result<(SecretString, AdminToken)> {
    if let Some(configured) = &config.server.admin_token {
        let token = configured.read().context("server.admin_token")?;
        let admin = AdminToken::new(token.expose_secret());
        return Ok((token, admin));
    }
    if !engine.membership().is_shared() {
        let token = admin_token::load_or_create(directory)?;
        let admin = AdminToken::new(&token);
        return Ok((token.into(), admin));
    }
    let file = admin_token::load(directory)?;
    let token = match &file {
        Some(token) => token.clone(),
        None => admin_token::unwritten()?,
    };
    let envelope = Envelope::system(ACTOR, Namespace::default());
    let digest = AdminToken::digest_of(&token);
    if engine.access().administrator().is_none() && file.is_none() {
        // Written before it is declared: a declared token that no file holds could never be used.
        admin_token::write(directory, &token)?;
    }
    let declared = engine.access().declare_administrator(&envelope, &digest).await?;
    if declared == digest {
        return Ok((token.clone().into(), AdminToken::beside_declared(&token)));
    }
    if file.is_some() {
        tracing::warn!(
            file = %admin_token::path(directory).display(),
            "this token is not valid: the nodes of this store have the one of the first node"
        );
    } else if admin_token::load(directory)?.is_some() {
        // Another process was first.
        let _ = std::fs::remove_file(admin_token::path(directory));
    }
    let own = admin_token::unwritten()?;
    let admin = AdminToken::beside_declared(&own);
    Ok((own.into(), admin))
}
