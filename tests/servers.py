"""Servers that tests start for themselves."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FOUND = [shutil.which("pg_ctl"), *Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")]
PG_CTL = next((Path(found) for found in _FOUND if found), None)


# MLflow's server without the seven processes that evaluate language models.
_PLAIN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(port: int, *command: str, **env: str) -> Iterator[None]:
    """A server process that answers on a port, ended with the block."""
    process = subprocess.Popen(
        command, env=os.environ | _PLAIN | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{command[0]} ended by itself"
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)


class Postgres:
    """A PostgreSQL in a folder of its own. Its programs refuse to run as root."""

    def __init__(self) -> None:
        self.folder, self.port = Path(tempfile.mkdtemp()), free_port()
        self.user = None
        if os.geteuid() == 0:
            self.user = pwd.getpwnam("postgres").pw_uid
            os.chown(self.folder, self.user, -1)
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C")
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-o", options, "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def create(self, database: str) -> str:
        """Make a database; its address for SQLAlchemy."""
        import psycopg

        address = f"postgres@127.0.0.1:{self.port}"
        with psycopg.connect(f"postgresql://{address}/postgres", autocommit=True) as server:
            server.execute(f"CREATE DATABASE {database}".encode())
        return f"postgresql+psycopg://{address}/{database}"

    def _run(self, program: str, *words: str) -> None:
        assert PG_CTL is not None
        command = [str(PG_CTL.resolve().parent / program), "-D", str(self.folder / "data"), *words]
        out = subprocess.DEVNULL
        subprocess.run(command, check=True, cwd=self.folder, user=self.user, stdout=out, stderr=out)


def execute(address: str, *statements: str) -> list[Any]:
    """What a person does to a database (a DuckDB file, or PostgreSQL); rows of the last statement."""
    import duckdb
    import psycopg

    if address.endswith(".duckdb"):
        with duckdb.connect(address) as file:
            for statement in statements:
                result = file.sql(statement)
            return (
                [tuple(row.values()) for row in result.to_arrow_table().to_pylist()]
                if result
                else []
            )
    with psycopg.connect(address.replace("+psycopg", "")) as server:
        for statement in statements:
            cursor = server.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
