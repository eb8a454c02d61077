"""A headless Chromium for tests that look at a page as a reader's browser does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
    *("--hide-scrollbars", "--virtual-time-budget=4000", "--enable-logging=stderr", "--dump-dom"),
)


@pytest.fixture(scope="session")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``open_page(page, fragment)``: the browser's run; skips without Chromium, except on CI."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, and CI must not skip (apt-get install chromium)")
        pytest.skip("Chromium is not installed (apt-get install chromium)")

    def opened(page: Path, fragment: str = "") -> subprocess.CompletedProcess[str]:
        profile = tmp_path_factory.mktemp("profile")
        address = page.resolve().as_uri() + fragment
        command = [browser, *FLAGS, f"--user-data-dir={profile}", address]
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
