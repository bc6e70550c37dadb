//! The command line, as people and scripts use it: every verb of the real binary against a real server. Failures are
//! provoked with a stub that gives canned responses.

mod actions;
mod declare;
mod exit_codes;
mod fake_jira;
mod import;
mod local;
mod manifests;
mod operate;
mod read;
mod readme;
mod select;
mod stack;
mod stub;
mod stubbed;
mod verbs;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{Server, Setup, WAIT_MAX, next_of};

const BINARY: &str = env!("CARGO_BIN_EXE_stateward");

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The lines of standard output.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

/// A shell in a separate folder.
pub(crate) struct Cli {
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Cli {
    /// In `folder`, where a local server may have its data.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), environment: Vec::new() }
    }

    /// With a variable set.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Writes a file; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        next_of(&self.folder);
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(&self.folder).kill_on_drop(true);
        for name in ["SERVER", "TOKEN", "TOKEN_FILE", "CA_FILE"] {
            command.env_remove(format!("STATEWARD_{name}"));
        }
        command.env_remove("FAILPOINTS").env_remove("NO_COLOR").envs(self.environment.clone());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command with `input` on its standard input.
    pub(crate) async fn fed(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self.command(arguments).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("piped");
        match stdin.write_all(input.as_bytes()).await {
            // It ended before it had read all of it; its message says why.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.expect("taken"),
        }
        drop(stdin);
        let output = tokio::time::timeout(WAIT_MAX, child.wait_with_output()).await;
        let output = output.expect("it ends").expect("a child");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let code = output.status.code().expect("not killed");
        Said { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs a command whose words have no spaces in them.
    pub(crate) async fn run(&self, line: &str) -> Said {
        self.fed(&line.split(' ').collect::<Vec<_>>(), "").await
    }

    /// Runs a command that must succeed; returns its standard output.
    pub(crate) async fn ok(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!(said.code, 0, "{line}: {said:#?}");
        said.out
    }

    /// Runs a command that must end with `code`; returns its error line.
    pub(crate) async fn fails(&self, line: &str, code: i32) -> String {
        let said = self.run(line).await;
        assert_eq!(said.code, code, "{line}: {said:#?}");
        let complaints: Vec<_> =
            said.err.lines().filter(|line| line.starts_with("stateward: ")).collect();
        assert_eq!(complaints.len(), 1, "{line}: not one line: {said:#?}");
        complaints[0].to_owned()
    }

    /// Starts a command that runs until it is dropped; returns the lines of its standard output.
    pub(crate) fn follow(&self, line: &str) -> Followed {
        let words: Vec<_> = line.split(' ').collect();
        let mut child = self.command(&words).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Followed { _child: child, lines }
    }
}

/// A running command.
pub(crate) struct Followed {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Followed {
    /// The next line that contains `part`.
    pub(crate) async fn line(&mut self, part: &str) -> String {
        let next = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                if line.contains(part) {
                    return line;
                }
            }
            panic!("it ended before it said {part}");
        };
        tokio::time::timeout(WAIT_MAX, next).await.unwrap_or_else(|_| panic!("never said {part}"))
    }
}

/// The default backends, with a root beside the data and a short drift interval.
pub(crate) const LOCAL: &str = "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\n\
    drift_interval = \"200ms\"\n[backends.sandbox]\ndriver = \"fake\"\n";

/// A server with default settings, and a shell in its folder.
pub(crate) async fn start(config: &str) -> (Setup, Server, Cli) {
    let setup = Setup::new(config);
    let server = setup.start().await;
    let cli = Cli::new(setup.folder.path());
    (setup, server, cli)
}

/// A manifest of a file.
pub(crate) fn file(name: &str, content: &str) -> String {
    format!(
        "kind: local.file\nname: {name}\nlabels: {{app: site}}\ndesired: {{path: {name}.txt, content: {content}}}\n"
    )
}

/// A manifest of a thing of the sandbox.
pub(crate) fn thing(name: &str, desired: &str) -> String {
    format!("kind: fake.thing\nname: {name}\nbackend: sandbox\ndesired: {desired}\n")
}
