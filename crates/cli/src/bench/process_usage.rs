//! The measured processes, with their processor time and memory from `/proc`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take until it is ready: it may have a long log to replay.
const START_MAX: Duration = Duration::from_mins(1);
const STOP_MAX: Duration = Duration::from_secs(15);
/// Ticks a second in `/proc`: always a hundred on Linux (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;
/// Configuration of the measured server: a backend without latency that allows as many rounds at a time as there are
/// connections.
pub(super) const CONFIG: &str = "[backends.sandbox]\ndriver = \"fake\"\nconcurrency = 64\n";

/// A process that listens on an address; killed when dropped.
pub(super) struct Process {
    child: Child,
    pub(super) address: SocketAddr,
    /// Time from its start until it was ready.
    pub(super) started_in: Duration,
}

impl Process {
    /// Starts this binary as a server on a free port, with its data in `folder`.
    pub(super) async fn serve(folder: &Path) -> anyhow::Result<Self> {
        Self::serve_with(folder, CONFIG).await
    }

    /// As [`serve`](Self::serve), with this configuration.
    pub(super) async fn serve_with(folder: &Path, settings: &str) -> anyhow::Result<Self> {
        Self::serve_as(folder, settings, &[]).await
    }

    /// As [`serve_with`](Self::serve_with), with more arguments.
    pub(super) async fn serve_as(
        folder: &Path,
        settings: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let config = folder.join("stateward.toml");
        std::fs::write(&config, settings)?;
        let mut command = this_binary()?;
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        command.args(arguments);
        command.arg("--data").arg(data(folder)).env("RUST_LOG", "info").stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().context("the server does not start")?;
        let said = child.stderr.take().context("no standard error")?;
        let address = address(said, "ready url=\"http://").await.context("the server")?;
        Ok(Self { child, address, started_in: began.elapsed() })
    }

    /// Starts this binary as an empty `fake-world`.
    pub(super) async fn world() -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut command = this_binary()?;
        command.args(["fake-world", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stdout.take().context("no standard output")?;
        let address = address(said, "http://").await.context("the world")?;
        Ok(Self { child, address, started_in: began.elapsed() })
    }

    /// Starts this binary as an echo server, with as many workers as a server has.
    pub(super) async fn echo() -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut command = this_binary()?;
        let mut child = command.arg("bench-echo").stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().context("no standard output")?;
        let address = address(said, "http://").await.context("the echo")?;
        Ok(Self { child, address, started_in: began.elapsed() })
    }

    /// Starts another program, which prints its address first.
    pub(super) async fn other(program: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn();
        let mut child = child.with_context(|| format!("cannot start {}", program.display()))?;
        let said = child.stdout.take().context("no standard output")?;
        let address = address(said, "http://").await?;
        Ok(Self { child, address, started_in: began.elapsed() })
    }

    /// Its processor time so far.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(&self.pid()?.to_string())
    }

    /// Resident bytes: present and peak.
    pub(super) fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.pid()?);
        let status = std::fs::read_to_string(path).context("no /proc")?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).with_context(|| format!("/proc does not know {name}"))
        };
        Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
    }

    /// Sends SIGTERM, and waits for its end.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid =
            rustix::process::Pid::from_raw(self.pid()?.cast_signed()).context("no process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = tokio::time::timeout(STOP_MAX, self.child.wait()).await;
        let status = ended.context("the server does not end")??;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Kills it.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }
}

/// The data directory of a server in `folder`.
pub(super) fn data(folder: &Path) -> std::path::PathBuf {
    folder.join("data")
}

/// The first administrator's token of a server in `folder`.
pub(super) fn token(folder: &Path) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(crate::server::admin_token::path(&data(folder)))?.trim().to_owned())
}

/// Processor time of `process` (a pid, or `self`).
pub(super) fn cpu(process: &str) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("no /proc")?;
    // The name in parentheses may contain anything; user and system time are the 12th and 13th field after it.
    let (_, rest) = stat.rsplit_once(')').context("/proc/stat is not as it should be")?;
    let times: Vec<u64> =
        rest.split_whitespace().skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
    Ok(Duration::from_millis(times.iter().sum::<u64>() * 1_000 / TICKS_PER_SECOND))
}

/// Processor time of all processes of the machine so far.
pub(super) fn machine() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("no /proc")?;
    let all = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let times = all.context("/proc/stat is not as it should be")?.split_whitespace();
    // user, nice, system, idle, iowait, irq, softirq, steal; time of guests is within user.
    let times = times.take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    let ticks: u64 = times.filter_map(|(_, text)| text.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

pub(super) fn this_binary() -> anyhow::Result<Command> {
    let binary = std::env::current_exe().context("this binary has no path")?;
    let mut command = Command::new(binary);
    // The caller's configuration must not apply to the measured server.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STATEWARD_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Reads the address after `mark` from the output of a process; later output is discarded.
async fn address(
    said: impl AsyncRead + Unpin + Send + 'static,
    mark: &str,
) -> anyhow::Result<SocketAddr> {
    let mut lines = BufReader::new(said).lines();
    let mut last = String::new();
    let found = async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim_end_matches('"').parse().context("its address is none");
            }
            last = line;
        }
        anyhow::bail!("ended: {last}")
    };
    let address =
        tokio::time::timeout(START_MAX, found).await.context("is not ready in time")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(address)
}
