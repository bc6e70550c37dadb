//! The verbs: a file for each, or for a family of similar ones.

mod adopt;
mod apply;
mod audit;
mod backends;
mod backup;
mod bench;
mod cancel;
mod completion;
mod decide;
mod delete;
mod describe;
mod diff;
mod entity_actions;
mod events;
mod explain;
mod fake_jira;
mod fake_world;
mod get;
mod history;
mod import;
mod log;
mod migrate;
mod namespaces;
mod nodes;
mod operations;
mod projections;
mod restore;
mod run;
mod serve;
mod set;
#[cfg(test)]
mod tests;
mod tokens;
mod unfreeze;
mod wait;
mod watch;

use clap::Subcommand;

use crate::exit::Exit;
use crate::verb_context::WithConnection;

/// The text of `--help`: verbs in groups, because one line for each does not fit a screen.
pub(crate) const HELP: &str = "\
{about-with-newline}
{usage-heading} stateward VERB [ARGUMENTS]      stateward VERB --help explains a verb, with examples

Declare    apply, set               make the server hold what files declare; change fields
           diff                     what apply would change, or what differs from what is there
           delete, protect          end entities, or refuse to
           adopt, import, release   take over what is there, or let it go
           explain                  what can be declared, field by field
Look       get, describe            entities: a list, or everything about one
           watch, wait              as they change, or until they are as they should be
           history, events          who did what, when and why; the log as it grows
           operations               requested changes, and their progress
Act        run, refresh, retry      do a verb of the kind's own; look now; try again now
           pause, resume            leave an entity alone, and go on
           decide, cancel           answer what it asks; take back what was asked for
Operate    serve                    run the server
           backends, projections    their state; pause, test, reload, rebuild
           namespaces, tokens       who may do what, and where
           audit                    verify, checkpoint, export, import the log
           backup, restore          copy the store; put a copy back
           nodes, migrate, log      processes that share PostgreSQL; its schema; move a log
           unfreeze                 let a restored server change things again
           bench, completion        measure a server on this machine; scripts for shells

Entities are named KIND/NAME or by id; a kind may be shortened: local.file/motd, file/motd.
A server in ./data is found by itself; else STATEWARD_SERVER and STATEWARD_TOKEN say where, as whom.

{options}";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Make the server hold what files declare
    Apply(WithConnection<apply::Apply>),
    /// Show what apply would change, or what differs from what is there
    Diff(WithConnection<diff::Diff>),
    /// End entities
    Delete(WithConnection<delete::Delete>),
    /// List entities
    Get(WithConnection<get::Get>),
    /// Show everything about an entity
    Describe(WithConnection<describe::Describe>),
    /// Wait until entities are in a state
    Wait(WithConnection<wait::Wait>),
    /// Show entities as they change
    Watch(WithConnection<watch::Watch>),
    /// Show who did what to an entity, when and why; or the entity as it was
    History(WithConnection<history::History>),
    /// Show the log, or follow it
    Events(WithConnection<events::Events>),
    /// Show requested changes and their progress
    Operations(WithConnection<operations::Operations>),
    /// Look at the object now
    #[command(
        after_help = "Examples:\n  stateward refresh file/motd --wait\n  stateward refresh -l app=site --yes"
    )]
    Refresh(WithConnection<entity_actions::Refresh>),
    /// Try again now what failed or waits
    #[command(
        after_help = "Examples:\n  stateward retry thing/stubborn\n  stateward retry --state erred --yes"
    )]
    Retry(WithConnection<entity_actions::Retry>),
    /// Change nothing on the backend for it until resume
    #[command(
        after_help = "Examples:\n  stateward pause file/motd --reason 'editing by hand'\n  stateward pause --kind file --yes"
    )]
    Pause(WithConnection<entity_actions::Pause>),
    /// Go on after pause
    #[command(
        after_help = "Examples:\n  stateward resume file/motd\n  stateward resume -l app=site --yes"
    )]
    Resume(WithConnection<entity_actions::Resume>),
    /// Change fields of what is desired
    Set(WithConnection<set::Set>),
    /// Do one of the verbs of an entity's kind
    Run(WithConnection<run::Run>),
    /// Take over an object that is there
    Adopt(WithConnection<adopt::Adopt>),
    /// Write manifests of the unmanaged objects of a backend, and take them over
    Import(WithConnection<import::Import>),
    /// End the entity and leave its object as it is
    #[command(
        after_help = "Examples:\n  stateward release file/motd\n  stateward release --backend old --yes"
    )]
    Release(WithConnection<entity_actions::Release>),
    /// Refuse deletion
    Protect(WithConnection<entity_actions::Protect>),
    /// Answer what an entity is blocked on
    Decide(WithConnection<decide::Decide>),
    /// Take back what was asked for
    Cancel(WithConnection<cancel::Cancel>),
    /// Explain what can be declared
    Explain(WithConnection<explain::Explain>),
    /// Namespaces: list, create, delete
    Namespaces(WithConnection<namespaces::Namespaces>),
    /// List the processes that share the store
    Nodes(WithConnection<nodes::Nodes>),
    /// Tokens: list, issue, revoke
    Tokens(WithConnection<tokens::Tokens>),
    /// Backends: list, get, pause, resume, test, reload
    Backends(WithConnection<backends::Backends>),
    /// Read models: list, rebuild, retry
    Projections(WithConnection<projections::Projections>),
    /// Verify, checkpoint, export and import the log
    Audit(WithConnection<audit::Audit>),
    /// Copy a store, also while a server has it open
    Backup(backup::Backup),
    /// Put a backup back
    Restore(restore::Restore),
    /// Move the log to another store
    Log(log::Log),
    /// Make or migrate the schema of a store on PostgreSQL
    Migrate(migrate::Migrate),
    /// Let a restored or copied server change things again
    Unfreeze(WithConnection<unfreeze::Unfreeze>),
    /// Print a script for a shell
    Completion(completion::Completion),
    /// Write manual pages
    #[command(hide = true)]
    Man(completion::Man),
    /// Measure a server on this machine: requests, latency, convergence, replay
    Bench(bench::Bench),
    /// Echo each request: the server that the benchmark compares with
    #[command(hide = true)]
    BenchEcho(bench::Echo),
    /// Run a world for the fake driver as a separate process, which counts what is created in it
    #[command(hide = true)]
    FakeWorld(fake_world::FakeWorld),
    /// Run a fake JIRA as a separate process, for trials and tests
    #[command(hide = true)]
    FakeJira(fake_jira::FakeJiraCommand),
}

impl Command {
    /// Runs the verb; `root` is the whole command line, for completion scripts and manual pages.
    pub(crate) async fn run(self, root: fn() -> clap::Command) -> anyhow::Result<Exit> {
        match self {
            Self::Serve(verb) => verb.run().await.map(|()| Exit::Ok),
            Self::Apply(verb) => verb.run().await,
            Self::Diff(verb) => verb.run().await,
            Self::Delete(verb) => verb.run().await,
            Self::Get(verb) => verb.run().await,
            Self::Describe(verb) => verb.run().await,
            Self::Wait(verb) => verb.run().await,
            Self::Watch(verb) => verb.run().await,
            Self::History(verb) => verb.run().await,
            Self::Events(verb) => verb.run().await,
            Self::Operations(verb) => verb.run().await,
            Self::Refresh(verb) => verb.run().await,
            Self::Retry(verb) => verb.run().await,
            Self::Pause(verb) => verb.run().await,
            Self::Resume(verb) => verb.run().await,
            Self::Adopt(verb) => verb.run().await,
            Self::Set(verb) => verb.run().await,
            Self::Run(verb) => verb.run().await,
            Self::Import(verb) => verb.run().await,
            Self::Release(verb) => verb.run().await,
            Self::Protect(verb) => verb.run().await,
            Self::Decide(verb) => verb.run().await,
            Self::Cancel(verb) => verb.run().await,
            Self::Explain(verb) => verb.run().await,
            Self::Namespaces(verb) => verb.run().await,
            Self::Nodes(verb) => verb.run().await,
            Self::Tokens(verb) => verb.run().await,
            Self::Backends(verb) => verb.run().await,
            Self::Projections(verb) => verb.run().await,
            Self::Audit(verb) => verb.run().await,
            Self::Backup(verb) => verb.run().await.map(|()| Exit::Ok),
            Self::Restore(verb) => verb.run().await.map(|()| Exit::Ok),
            Self::Log(verb) => verb.run().await.map(|()| Exit::Ok),
            Self::Migrate(verb) => verb.run().await.map(|()| Exit::Ok),
            Self::Unfreeze(verb) => verb.run().await,
            Self::Completion(verb) => verb.run(root()),
            Self::Man(verb) => verb.run(root()),
            Self::FakeWorld(world) => world.run().await.map(|()| Exit::Ok),
            Self::FakeJira(jira) => jira.run().await.map(|()| Exit::Ok),
            Self::Bench(verb) => verb.run().await.map(|()| Exit::Ok),
            Self::BenchEcho(verb) => verb.run().await.map(|()| Exit::Ok),
        }
    }
}
