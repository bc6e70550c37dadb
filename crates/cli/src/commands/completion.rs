//! `stateward completion`, and `stateward man` for packages.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::presentation::terminal;

#[derive(Args)]
#[command(after_help = "Examples:\n  source <(stateward completion bash)\n  \
    stateward completion zsh > ~/.zfunc/_stateward\n  \
    stateward completion fish > ~/.config/fish/completions/stateward.fish")]
pub(crate) struct Completion {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self, mut root: clap::Command) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut root, "stateward", &mut script);
        terminal::write(|out| out.write_all(&script))?;
        Ok(Exit::Ok)
    }
}

#[derive(Args)]
#[command(after_help = "Example:\n  stateward man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Folder to write the pages into
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(&self, root: clap::Command) -> anyhow::Result<Exit> {
        let directory = &self.directory;
        let cannot = || format!("cannot write into {}", directory.display());
        std::fs::create_dir_all(directory).with_context(cannot)?;
        clap_mangen::generate_to(root, directory).with_context(cannot)?;
        Ok(Exit::Ok)
    }
}
