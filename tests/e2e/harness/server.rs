//! `stateward serve` as a process.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use super::database::Database;
use super::{Client, WAIT_MAX};

pub(super) const BINARY: &str = env!("CARGO_BIN_EXE_stateward");

/// A folder with a configuration and the data of one server, which may be started several times in it.
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    /// `None` = the embedded store.
    database: Option<Arc<Database>>,
    /// The first administrator's token; `None` = of the file in the data directory.
    token: Option<String>,
}

impl Setup {
    /// A folder whose configuration file holds `config`.
    pub(crate) fn new(config: &str) -> Self {
        Self::on(Database::wanted().map(Arc::new), config)
    }

    /// As [`new`](Self::new), with the embedded store whatever the tests run on.
    pub(crate) fn embedded(config: &str) -> Self {
        Self::on(None, config)
    }

    fn on(database: Option<Arc<Database>>, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let setup = Self { folder, database, token: None };
        setup.configure(config);
        setup
    }

    /// A folder of one more node of `database`, whose configuration file holds `config`; `token`: the configured first
    /// administrator's, `None` = of a file.
    pub(crate) fn sharing(database: &Arc<Database>, config: &str, token: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (database, token) = (Some(Arc::clone(database)), token.map(str::to_owned));
        let setup = Self { folder, database, token };
        setup.configure(config);
        setup
    }

    /// Rewrites the configuration; a running server keeps the one that it read.
    pub(crate) fn configure(&self, config: &str) {
        let store = self.database.as_deref().map(Database::section).unwrap_or_default();
        std::fs::write(self.config(), format!("{config}{store}")).expect("written");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("stateward.toml")
    }

    /// Backends `local` and `sandbox`, the latter in the world at `url`; all times are short.
    pub(crate) fn with_world(url: &str) -> Self {
        Self::new(&format!(
            "[workers]\nlease = \"1s\"\nlease_margin = \"300ms\"\nsweep_interval = \"200ms\"\n\
             [backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"1s\"\n\
             retry = {{ first = \"50ms\", max = \"500ms\" }}\n\
             [backends.sandbox]\ndriver = \"fake\"\nurl = \"{url}\"\n\
             retry = {{ first = \"50ms\", max = \"500ms\" }}\n"
        ))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Root of the backend `local`.
    pub(crate) fn managed(&self) -> PathBuf {
        self.folder.path().join("managed")
    }

    /// Starts a server, which must become ready.
    pub(crate) async fn start(&self) -> Server {
        self.start_with("").await.expect("ready")
    }

    /// Starts a server with these crash points. The error is its output when it dies before it is ready.
    pub(crate) async fn start_with(&self, crash_points: &str) -> Result<Server, String> {
        let mut command = self.command();
        command.env("FAILPOINTS", crash_points);
        let token = self.token.clone();
        Server::with_token(command, token.ok_or_else(|| self.data().join("admin.token"))).await
    }

    /// Starts a server whose data are elsewhere.
    pub(crate) async fn start_in(&self, data: &Path) -> Server {
        Server::from_command(self.command_in(data), data).await.expect("ready")
    }

    /// The command line that starts a server here.
    pub(crate) fn command(&self) -> Command {
        self.command_in(&self.data())
    }

    /// With data elsewhere.
    pub(crate) fn command_in(&self, data: &Path) -> Command {
        self.serve(data, Some("127.0.0.1:0"))
    }

    /// Listening on `address`; `None` = as configured.
    pub(crate) fn command_on(&self, address: Option<&str>) -> Command {
        self.serve(&self.data(), address)
    }

    fn serve(&self, data: &Path, listen: Option<&str>) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("serve").arg("--config").arg(self.config());
        command.arg("--data").arg(data).env("RUST_LOG", "info").env_remove("FAILPOINTS");
        command.args(listen.map(|address| format!("--listen={address}")));
        // The variables of the tests must not configure the server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STATEWARD_TEST_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
}

/// A server that became ready.
pub(crate) struct Server {
    child: Child,
    said: Arc<Mutex<String>>,
    pub(crate) client: Client,
}

impl Server {
    /// Runs `command` until it is ready. The error is its output.
    pub(crate) async fn from_command(command: Command, data: &Path) -> Result<Self, String> {
        Self::with_token(command, Err(data.join("admin.token"))).await
    }

    /// As [`from_command`](Self::from_command), with the token or the file that will hold it.
    pub(crate) async fn with_token(
        mut command: Command,
        token: Result<String, PathBuf>,
    ) -> Result<Self, String> {
        let mut child = command.spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let ready = tokio::time::timeout(WAIT_MAX, ready(&mut lines)).await;
        let url = ready.map_err(|_| "not ready in time".to_owned())??;
        let token = token.unwrap_or_else(|file| std::fs::read_to_string(file).expect("a token"));
        let said = Arc::new(Mutex::new(String::new()));
        tokio::spawn(keep(lines, Arc::clone(&said)));
        Ok(Self { child, said, client: Client::new(&url, token.trim()) })
    }

    /// Its output since it was ready.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        let id = self.child.id().expect("running");
        rustix::process::Pid::from_raw(id.cast_signed()).expect("not zero")
    }

    /// `kill -9`.
    pub(crate) async fn kill_now(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Whether it has exited.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits until it exits.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(WAIT_MAX, self.child.wait()).await;
        ended.expect("it ends").expect("a child")
    }

    /// Sends SIGTERM, and waits for its end within the promised ten seconds.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).expect("sent");
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        ended.expect("drained in 10 s").expect("a child")
    }
}

/// The address in the line that reports readiness. The error is the output when the process ends before.
async fn ready(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<String, String> {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some((_, rest)) = line.split_once("ready url=\"") {
            return Ok(rest.trim_end_matches('"').to_owned());
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}

async fn keep(mut lines: Lines<BufReader<ChildStderr>>, said: Arc<Mutex<String>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().expect("no panic");
        said.push_str(&line);
        said.push('\n');
    }
}

/// Runs `command`, which must not start; returns its exit code and its lines.
pub(crate) async fn refused(mut command: Command) -> (Option<i32>, Vec<String>) {
    let output = tokio::time::timeout(WAIT_MAX, command.output()).await;
    let output = output.expect("it ends").expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said.lines().map(str::to_owned).collect())
}
