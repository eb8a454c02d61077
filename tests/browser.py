"""A headless Chromium for tests that look at a page as a reader's browser does, and use it as a reader does."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
    "--hide-scrollbars",
)
ANSWERS_WITHIN = 120  # seconds
DUMP = ("--virtual-time-budget=4000", "--enable-logging=stderr", "--dump-dom")


def _browser() -> str:
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, and CI must not skip (apt-get install chromium)")
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    return browser


@pytest.fixture(scope="session")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``open_page(page, fragment)``: the browser's run; skips without Chromium, except on CI."""
    browser = _browser()

    def opened(page: Path, fragment: str = "") -> subprocess.CompletedProcess[str]:
        profile = tmp_path_factory.mktemp("profile")
        address = page.resolve().as_uri() + fragment
        command = [browser, *FLAGS, *DUMP, f"--user-data-dir={profile}", address]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    return opened


@pytest.fixture(scope="session")
def dump_dom(open_page) -> Callable[..., str]:
    """``dump_dom(page, fragment)``: the page's HTML after its scripts ran."""
    return lambda page, fragment="": open_page(page, fragment).stdout


@pytest.fixture(scope="session")
def complaints(open_page) -> Callable[[Path], list[str]]:
    """``complaints(page)``: script errors, and what the page's policy refused."""
    return lambda page: re.findall(r"CONSOLE[^\n]*", open_page(page).stderr)


class Tab:
    """A page in a browser that draws, scrolls and takes keys as a reader's does, driven over DevTools' protocol."""

    def __init__(self, browser: str, profile: Path) -> None:
        # The browser reads commands from its descriptor 3 and writes to 4; ours must not be these
        (child_reads, self._to), (self._from, child_writes) = (
            [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in os.pipe()] for _ in range(2)
        )
        shell = f'exec "$0" "$@" 3<&{child_reads} 4>&{child_writes}'
        command = ["bash", "-c", shell, browser, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [*command, "about:blank"], pass_fds=(child_reads, child_writes), stderr=subprocess.DEVNULL
        )
        os.close(child_reads)
        os.close(child_writes)
        self._number, self._rest, self._session = 0, b"", None
        self.complaints: list[str] = []
        """What the console or the page's policy said since the page was opened."""
        (target,) = [one for one in self._ask("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, page: Path, width: int = 1280, fragment: str = "") -> None:
        """Opens the page in a window ``width`` pixels wide and 800 high, and waits until it has been drawn."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        self._ask("Page.navigate", url="about:blank")
        self.complaints.clear()
        self._ask("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.run("if (document.readyState !== 'complete') await new Promise((done) => addEventListener('load', done));")

    def run(self, script: str) -> Any:
        """What the script, an async function's body, returns once two frames more have been drawn."""
        frames = (
            "for (let n = 0; n < 2; n += 1) await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
        )
        whole = f"(async () => {{ const value = await (async () => {{ {script} }})(); {frames} return value; }})()"
        answer = self._ask("Runtime.evaluate", expression=whole, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["exception"].get("description", answer))
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, as ``KeyboardEvent.key`` names them."""
        for key in keys:
            text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            code = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key, ord(key) if len(key) == 1 else 0)
            for kind in ("keyDown", "keyUp"):
                values = {
                    "type": kind,
                    "key": key,
                    "windowsVirtualKeyCode": code,
                    **(text if kind == "keyDown" else {}),
                }
                self._ask("Input.dispatchKeyEvent", **values)
        self.run("")

    def close(self) -> None:
        """Ends the browser."""
        self._session = None
        self._ask("Browser.close")
        self._process.wait(timeout=60)

    def _ask(self, method: str, **values: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(answer["params"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], ANSWERS_WITHIN)[0]:
                raise AssertionError(f"the browser did not answer within {ANSWERS_WITHIN} s")
            if not (more := os.read(self._from, 1 << 20)):
                raise AssertionError("the browser has ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A browser's `Tab`; skips without Chromium, except on CI."""
    one = Tab(_browser(), tmp_path_factory.mktemp("profile"))
    yield one
    one.close()
