//! The context of a verb that talks to a server: client, data directory, time and colours.

use std::path::PathBuf;

use anstream::AutoStream;
use anstream::ColorChoice;
use clap::{Args, ValueEnum};
use serde_json::Value;
use stateward_domain::time::Clock;

use crate::client::{Client, ConnectionOptions};
use crate::clock::SystemClock;
use crate::exit::Exit;
use crate::presentation::output::{self, Output, ResourcePrinter};
use crate::presentation::terminal;

/// The arguments of a verb, and the options of every verb that talks to a server.
#[derive(Args)]
pub(crate) struct WithConnection<T: Args> {
    #[command(flatten)]
    own: T,
    #[command(flatten)]
    connection: ConnectionOptions,
    #[command(flatten)]
    terminal: TerminalOptions,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Terminal")]
struct TerminalOptions {
    #[arg(long, help = "Whether to colour; NO_COLOR is honoured", value_enum, default_value_t = Colour::Auto, global = true)]
    color: Colour,
    /// Print every request and its status to standard error
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    Always,
    Never,
}

/// A verb that talks to a server.
pub(crate) trait ClientCommand {
    /// Runs the verb. A failure of one of many entities is printed and lowers the exit code; an error ends the verb.
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit>;
}

impl<T: Args + ClientCommand> WithConnection<T> {
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let context = CommandContext::new(&self.connection, &self.terminal)?;
        self.own.run(&context).await
    }
}

/// What a verb runs with.
pub(crate) struct CommandContext {
    pub(crate) client: Client,
    /// Data directory of a local server.
    pub(crate) data: PathBuf,
    /// The time at which the verb was started.
    pub(crate) now: jiff::Timestamp,
    /// Whether standard output is coloured.
    pub(crate) color: bool,
}

impl CommandContext {
    fn new(connection: &ConnectionOptions, options: &TerminalOptions) -> anyhow::Result<Self> {
        let color = match options.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => AutoStream::choice(&terminal::stdout()) != ColorChoice::Never,
        };
        let client =
            Client::new(connection.connection()?, options.verbose.then_some(terminal::note))?;
        let now = jiff::Timestamp::from_microsecond(SystemClock.now().0).unwrap_or_default();
        Ok(Self { client, data: connection.data().to_owned(), now, color })
    }

    /// Prints a list.
    pub(crate) fn print_list(
        &self,
        noun: &ResourcePrinter,
        items: &[Value],
        output: Output,
    ) -> anyhow::Result<()> {
        output::print_list(noun, items, output, self.now, self.color)
    }

    /// Prints a single resource.
    pub(crate) fn print_one(
        &self,
        noun: &ResourcePrinter,
        item: &Value,
        output: Output,
    ) -> anyhow::Result<()> {
        output::print_one(noun, item, output, self.now, self.color)
    }
}
