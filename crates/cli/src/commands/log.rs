//! `stateward log`: moves the log to another store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use stateward_domain::audit::VerificationProgress;
use stateward_domain::time::Clock as _;
use stateward_store::{Location, postgres, sqlite};

use crate::clock::SystemClock;
use crate::presentation::terminal;

#[derive(Args)]
#[command(
    after_help = "Example:\n  stateward log copy --from sqlite:./data --to postgres://owner@db.example/stateward"
)]
pub(crate) struct Log {
    #[command(subcommand)]
    verb: LogVerb,
}

#[derive(Subcommand)]
enum LogVerb {
    /// Copy a whole log into an empty store: the same events, ids and hashes
    #[command(
        after_help = "The source takes no event any more. The target begins observe-only: check it, then `stateward \
        unfreeze`.\nA copy into PostgreSQL that broke off goes on when it is repeated. Passwords come from PGPASSWORD or a \
        .pgpass file.\n\nExample:\n  stateward log copy --from sqlite:./data --to postgres://owner@db.example/stateward"
    )]
    Copy(Copy),
}

#[derive(Args)]
struct Copy {
    /// Store with the log: `sqlite:DIRECTORY` or `postgres://OWNER@HOST/DATABASE`
    #[arg(long)]
    from: String,
    /// Store without events, as `stateward migrate` or a first start makes it
    #[arg(long)]
    to: String,
}

impl Log {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let LogVerb::Copy(Copy { from, to }) = self.verb;
        let location = |url: &str| Location::of(url).with_context(|| url_without_password(url));
        let bar = terminal::progress("copying", 0);
        let copied = match (location(&from)?, location(&to)?) {
            (Location::Directory(from), Location::Database(to)) => {
                into_database(from, &to, &bar).await?
            }
            (Location::Database(from), Location::Directory(to)) => {
                into_directory(&from, to, &bar).await?
            }
            (Location::Database(from), Location::Database(to)) => {
                between_databases(&from, &to, &bar).await?
            }
            (Location::Directory(_), Location::Directory(_)) => anyhow::bail!(
                "between directories, `stateward backup` and `stateward restore` copy the log"
            ),
        };
        bar.finish_and_clear();
        terminal::print(&format!(
            "{copied} events were copied and verified; the source takes no more. The target begins observe-only: \
             check it, then run `stateward unfreeze`."
        ))
    }
}

/// Scheme and place of a URL, for a message.
fn url_without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://…@{place}"),
        _ => url.to_owned(),
    }
}

fn shown(bar: &ProgressBar) -> impl Fn(VerificationProgress) + Send + Sync {
    |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }
}

async fn connected(settings: &postgres::Settings) -> anyhow::Result<postgres::Database> {
    let target = settings.target.clone();
    Ok(postgres::Database::connect(target, "log-copy", settings.limits).await?)
}

async fn into_database(
    from: PathBuf,
    to: &postgres::Settings,
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    let clock = Arc::new(SystemClock);
    // The target first: a source is not closed for a copy that cannot begin.
    let to = connected(to).await?;
    let source = sqlite::SourceLock::take(&from)?;
    let auditor = sqlite::Auditor::offline(&from, clock.clone()).await?;
    let copied = postgres::copy(&auditor, &to, clock, &shown(bar)).await;
    auditor.close().await;
    let copied = copied?;
    source.moved()?;
    Ok(copied.checkpoint.count)
}

async fn into_directory(
    from: &postgres::Settings,
    to: PathBuf,
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    let from = connected(from).await?;
    postgres::fence(&from).await?;
    let auditor = postgres::Auditor::beside(from.clone(), Arc::new(SystemClock)).await?;
    let copied = sqlite::copy(&auditor, &to, SystemClock.now(), &shown(bar)).await;
    Ok(unfenced_unless(copied, &from).await?.count)
}

async fn between_databases(
    from: &postgres::Settings,
    to: &postgres::Settings,
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    let (from, to) = (connected(from).await?, connected(to).await?);
    postgres::fence(&from).await?;
    let clock = Arc::new(SystemClock);
    let auditor = postgres::Auditor::beside(from.clone(), clock.clone()).await?;
    let copied = postgres::copy(&auditor, &to, clock, &shown(bar)).await;
    Ok(unfenced_unless(copied, &from).await?.checkpoint.count)
}

/// A log that was not copied takes appends again.
async fn unfenced_unless<T, E>(copied: Result<T, E>, from: &postgres::Database) -> anyhow::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    if copied.is_err() {
        postgres::end_fence(from).await?;
    }
    Ok(copied?)
}
