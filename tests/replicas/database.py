"""A PostgreSQL server for tests: a new cluster in a folder, which only its Unix socket can reach."""

import os
import pwd
import re
import subprocess
from pathlib import Path

VERSIONS = Path("/usr/lib/postgresql")

# The commits are durable, because the tests crash the server.
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "track_wal_io_timing": "off",
}


def programs() -> Path:
    """Returns the folder with the programs of the newest installed version."""
    found = [place.parent for place in VERSIONS.glob("*/bin/initdb")]
    if not found:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    return max(found, key=lambda place: int(re.search(r"(\d+)/bin$", str(place)).group(1)))


class Database:
    """The server. Its files belong to the user `nobody` if this process runs as root, because it refuses to run as root."""

    def __init__(self, folder: Path, data: Path | None = None, **settings: str) -> None:
        self.folder, self.data = folder, data or folder / "data"
        self.programs = programs()
        self.settings = {**SETTINGS, **settings}
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        folder.mkdir(exist_ok=True)
        for place in {folder, self.data.parent}:
            if self.user:
                os.chown(place, self.user.pw_uid, self.user.pw_gid)
        self.run("initdb", "--no-sync", "-A", "trust", "-U", "bridge", "-E", "UTF8", "--locale=C", "-D", str(self.data))
        self.start()
        self.sql("CREATE DATABASE store", "postgres")

    @property
    def url(self) -> str:
        return f"postgres:///store?host={self.folder}&user=bridge"

    def command(self, name: str, *arguments: str) -> list[str]:
        return [str(self.programs / name), *arguments]

    def run(self, name: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        with (self.folder / "control.log").open("ab") as log:
            return subprocess.run(
                self.command(name, *arguments), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=check, **identity
            )

    def start(self) -> None:
        settings = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in self.settings.items())
        self.run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "server.log"), "-w", "-o", f"-k {self.folder} {settings}", "start")

    def stop(self, mode: str) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop", check=False)

    def sql(self, statement: str, database: str = "store") -> list[list[str]] | None:
        """Runs a statement and returns its rows, or None if the server does not answer."""
        command = self.command("psql", "-X", "-q", "-A", "-t", "-F", "\t", "-h", str(self.folder), "-U", "bridge", "-d", database, "-c", statement)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return [line.split("\t") for line in done.stdout.splitlines()] if done.returncode == 0 else None

    def number(self, statement: str) -> int | None:
        rows = self.sql(statement)
        return int(rows[0][0]) if rows else None

    def session(self, statements: str) -> subprocess.Popen:
        """Opens a session that runs the statements and stays open until its input is closed."""
        command = self.command("psql", "-X", "-q", "-A", "-t", "-h", str(self.folder), "-U", "bridge", "-d", "store")
        session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        session.stdin.write(statements + "\n")
        session.stdin.flush()
        return session
