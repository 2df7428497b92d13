"""Serve MLflow's pages on this machine, and name the page that compares the runs of the source, best first.

If the environment has BROWSER, that page is opened. With MLFLOW_TRACKING_URI, it is a page of that server, and none is
started here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
import webbrowser

from pydantic import Field

from gatecast.cli.frame import command
from gatecast.config import Config
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
    address = pages.address(base, source)
    words = ["--backend-store-uri", store.uri(), "--host", "127.0.0.1", "--workers", "1"]
    server = [sys.executable, "-m", "mlflow", "server", *words, "--port", str(options.port)]
    with subprocess.Popen(server) as process:
        try:
            if _answers(base, process):
                _show(address)
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    raise SystemExit(code)


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
