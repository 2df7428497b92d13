"""Serve MLflow's pages on this machine, and name the page that compares the runs of the source, best first.

If the environment has BROWSER, that page is opened. With MLFLOW_TRACKING_URI, it is a page of that server, and none is
started here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser

from pydantic import Field

from gatecast.cli.frame import command
from gatecast.config import Config
from gatecast.core.errors import ConfigError
from gatecast.core.schema import Schema


class Options(Schema):
    """The server."""

    port: int = Field(default=5000, ge=1, le=65535)
    """Of the pages on 127.0.0.1."""


@command(reads=("source",), options=Options)
def main(config: Config, options: Options) -> None:
    from gatecast.registry.mlflow import pages, store

    source, base = config.settings.source, f"http://127.0.0.1:{options.port}"
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        _show(pages.address(store.uri(), source))
        return
    _require_free(options.port)
    address = pages.address(base, source)
    words = ["--backend-store-uri", store.uri(), "--host", "127.0.0.1", "--workers", "1"]
    server = [sys.executable, "-m", "mlflow", "server", *words, "--port", str(options.port)]
    # jobs of MLflow's evaluation of language models: seven processes that nothing here uses
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | os.environ
    with subprocess.Popen(server, env=env) as process:
        try:
            if _answers(base, process):
                _show(address)
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    raise SystemExit(code)


def _require_free(port: int) -> None:
    """Refuse a port where something answers.

    Raises:
        ConfigError: PORT.
    """
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            what = f"port {port} is in use: perhaps the pages are served already."
            raise ConfigError("PORT", what, "Choose another: make ui PORT=5001.")


def _answers(base: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; False if it ends before."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{base}/health", timeout=2).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def _show(address: str) -> None:
    print(f"\nui: the runs compared, best first: {address}\n", flush=True)
    if os.environ.get("BROWSER"):
        webbrowser.open(address)
