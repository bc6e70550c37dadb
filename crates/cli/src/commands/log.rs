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
        after_help = "The source takes no event any more; one in a directory is observe-only. The target begins observe-only: check it, then `stateward \
        unfreeze`.\nA copy that broke off goes on when it is repeated; one into a directory keeps what it read in \
        DIRECTORY.copy meanwhile. Passwords come from PGPASSWORD or a \
        .pgpass file.\n\nExample:\n  stateward log copy --from sqlite:./data --to postgres://owner@db.example/stateward"
    )]
    Copy(Copy),
    /// Let a log take events again that was closed for a copy
    #[command(
        after_help = "Only where no copy of the log is served: two would act on the same objects.\n\nExample:\n  stateward \
        log reopen --store postgres://owner@db.example/stateward"
    )]
    Reopen(Reopen),
}

#[derive(Args)]
struct Reopen {
    /// Store whose log was closed: `postgres://OWNER@HOST/DATABASE`
    #[arg(long, value_name = "URL")]
    store: String,
}

/// What a copy that failed leaves.
const STAYS_CLOSED: &str =
    "the source stays closed: repeat the copy, or, if no copy is served, `stateward log reopen`";

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
        let Copy { from, to } = match self.verb {
            LogVerb::Reopen(Reopen { store }) => return reopen(&store).await,
            LogVerb::Copy(copy) => copy,
        };
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
            "{copied} events were copied and verified; the source acts on nothing any more. The target begins \
             observe-only: check it, then run `stateward unfreeze`."
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
    // Before the target can be complete: the two never both act.
    source.moved()?;
    let auditor = sqlite::Auditor::offline(&from, clock.clone()).await?;
    let copied = postgres::copy(&auditor, &to, clock, &shown(bar)).await;
    auditor.close().await;
    Ok(copied?.checkpoint.count)
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
    Ok(copied.context(STAYS_CLOSED)?.count)
}

async fn between_databases(
    from: &postgres::Settings,
    to: &postgres::Settings,
    bar: &ProgressBar,
) -> anyhow::Result<u64> {
    let (from, to) = (connected(from).await?, connected(to).await?);
    anyhow::ensure!(
        postgres::place(&from).await? != postgres::place(&to).await?,
        "--from and --to are the same database"
    );
    postgres::fence(&from).await?;
    let clock = Arc::new(SystemClock);
    let auditor = postgres::Auditor::beside(from.clone(), clock.clone()).await?;
    let copied = postgres::copy(&auditor, &to, clock, &shown(bar)).await;
    Ok(copied.context(STAYS_CLOSED)?.checkpoint.count)
}

/// Lets a log take events again that was closed for a copy.
async fn reopen(url: &str) -> anyhow::Result<()> {
    let Location::Database(settings) = Location::of(url)? else {
        anyhow::bail!("the log of a directory is not closed: `stateward unfreeze` lets it act");
    };
    let database = connected(&settings).await?;
    postgres::end_fence(&database).await?;
    terminal::print("the log takes events again; no copy of it may be served beside it")
}
