"""A headless Chromium, driven over a pair of pipes (the Chrome DevTools Protocol)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-sync", "--disable-background-networking", "--disable-component-update"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)


class Page:
    """One open page."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = os.fdopen(read, "rb", 0), os.fdopen(write, "wb", 0)
        self._number, self._session, self._rest = 0, "", b""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        answer = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        self._write.write(json.dumps(asked).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                part = self._read.read(1 << 16)
                assert part, "the browser has ended"
                self._rest += part
            message, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(message)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, address: str, width: int = 1500, height: int = 2400) -> None:
        """Go to an address in a window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        self._ask("Page.navigate", url=address)

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 120) -> Any:
        """Wait until an expression is true, and return its value."""
        end = time.monotonic() + seconds
        while not (found := self.value(script)):
            text = self.value("document.body ? document.body.innerText : ''")
            assert time.monotonic() < end, f"in vain: {script}\n{text}"
            time.sleep(0.2)
        return found

    def text(self) -> str:
        """What a reader sees."""
        return str(self.value("document.body.innerText"))

    def save(self, path: Path) -> None:
        """A PNG file of the window."""
        picture = self._ask("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(picture))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A page of a fresh browser, which ends with the block."""
    (their_read, my_write), (my_read, their_write) = os.pipe(), os.pipe()
    handed = f'exec "$@" 3<&{their_read} 4>&{their_write}'
    command = ["bash", "-c", handed, "bash", str(CHROMIUM), *_QUIET, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        command, pass_fds=(their_read, their_write), stderr=subprocess.DEVNULL
    )
    os.close(their_read)
    os.close(their_write)
    try:
        yield Page(my_read, my_write)
    finally:
        process.terminate()
        process.wait(30)
