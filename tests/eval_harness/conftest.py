"""A headless Chromium for tests that look at a page as a reader's browser does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
    *("--hide-scrollbars", "--virtual-time-budget=4000", "--dump-dom"),
)


@pytest.fixture(scope="session")
def dump_dom(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], str]:
    """``dump_dom(page, fragment)``: the page's HTML after its scripts ran; skips without Chromium, except on CI."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is not installed, and CI must not skip (apt-get install chromium)")
        pytest.skip("Chromium is not installed (apt-get install chromium)")

    def dump(page: Path, fragment: str = "") -> str:
        profile = tmp_path_factory.mktemp("profile")
        address = page.resolve().as_uri() + fragment
        command = [browser, *FLAGS, f"--user-data-dir={profile}", address]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout

    return dump
