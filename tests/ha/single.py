"""One server of PostgreSQL, for runs whose faults are not the database's."""

import glob
import os
import subprocess

import processes
from database import wait

INSTALL = "apt-get install --no-install-recommends postgresql"
SETTINGS = {"max_connections": 100, "shared_buffers": "64MB"}


def binaries():
    """The folder of PostgreSQL's programs; `None` where there is none."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    return os.path.dirname(found[-1]) if found else None


class Server:
    """A server on a port of the loopback interface that trusts all."""

    def __init__(self, run, programs):
        self.run, self.programs, self.port = run, programs, processes.free_ports(1)[0]
        self.folder = run.subfolder("database")

    def start(self):
        initialise = [f"{self.programs}/initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--locale=C", "-E", "UTF8"]
        if self.run.start(initialise, self.folder, "initdb.log", as_user=True).wait() != 0:
            raise RuntimeError((self.run.folder / "initdb.log").read_text(encoding="utf-8"))
        server = [f"{self.programs}/postgres", "-D", "data", "-p", self.port, "-k", self.folder]
        settings = [each for name, value in SETTINGS.items() for each in ("-c", f"{name}={value}")]
        self.run.start([*server, *settings], self.folder, "database.log", as_user=True)
        wait("the database answers", self._answers)

    def _psql(self, database, statement):
        arguments = [f"{self.programs}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)]
        return [*arguments, "-U", "postgres", "-d", database, "-c", statement]

    def _answers(self):
        return subprocess.run(self._psql("postgres", "SELECT 1"), capture_output=True, check=False).returncode == 0

    def execute(self, statement, database="postgres"):
        """Runs a statement as the superuser; its rows as text."""
        done = subprocess.run(self._psql(database, statement), check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.stdout

    def url(self, role):
        return f"postgres://{role}@127.0.0.1:{self.port}/stateward"
