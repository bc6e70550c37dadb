"""Processes of one run: they all work inside one temporary folder, by which each of them is found and ended by its id."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# PostgreSQL refuses to run as root.
USER = "postgres"


class Closed(Exception):
    """Nothing is started any more."""


class Processes:
    """The folder of a run. A guardian process ends everything in it when this object is closed, or this process dies."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="stateward-ha-"))
        self.folder.chmod(0o755)
        self._starting, self._closed = threading.Lock(), False
        guardian = [sys.executable, __file__, str(self.folder)]
        # Its input ends with this process; in a session of its own no signal of the terminal reaches it.
        self._guardian = subprocess.Popen(guardian, stdin=subprocess.PIPE, cwd="/", start_new_session=True)

    def subfolder(self, name):
        """Makes a folder that belongs to the database's user."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(path, account.pw_uid, account.pw_gid)
        return path

    def start(self, arguments, folder, log, as_user=False, environment=None):
        """Starts a program that works in `folder` and appends its output to the file `log` of the run's folder. Raises `Closed`."""
        arguments = [str(argument) for argument in arguments]
        if as_user and os.geteuid() == 0:
            arguments = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", *arguments]
        # Variables of the caller must not configure a server.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STATEWARD_", "PATRONI_", "ETCD", "PG"))}
        options = {"cwd": folder, "env": kept | (environment or {}), "stdin": subprocess.DEVNULL, "start_new_session": True}
        with self._starting:
            if self._closed:
                raise Closed
            with open(self.folder / log, "ab") as output:
                return subprocess.Popen(arguments, stdout=output, stderr=output, **options)

    def keep_logs(self, kept):
        """Copies what the processes printed to a folder, in place of an earlier run's."""
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, kept)

    def close(self):
        """Ends all processes and deletes the folder."""
        with self._starting:
            self._closed = True
        self._guardian.stdin.close()
        self._guardian.wait()


def inside(folder):
    """Ids of the processes that work in `folder` or below: PostgreSQL's work in their data folder."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and pathlib.Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append(int(entry.name))
    return found


def send(number, ids):
    """Sends a signal to processes; those that have ended meanwhile are left out."""
    for pid in ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def freeze(folder):
    """Stops all processes that work in `folder`, also those that are just being started."""
    stopped = set()
    while new := set(inside(folder)) - stopped:
        send(signal.SIGSTOP, new)
        stopped |= new


def wake(folder):
    send(signal.SIGCONT, inside(folder))


def kill(folder):
    """Ends all processes that work in `folder`, as a machine without power does."""
    while ids := inside(folder):
        send(signal.SIGKILL, ids)
        time.sleep(0.02)


def free_ports(count):
    """Ports of the loopback interface that nothing listens on; they differ from each other."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def guard(folder):
    """Waits for the end of the input, which is that of the run's process; then cleans up."""
    sys.stdin.read()
    kill(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guard(pathlib.Path(sys.argv[1]))
