"""On CI nothing may be skipped, a skip there is a test that nobody runs; and slow files come first."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest


def pytest_addoption(parser):
    parser.addoption("--shuffle", metavar="SEED", help="run the files in a random order: none may depend on another")


def pytest_collection_modifyitems(config, items):
    """Files go to processes whole and in this order: begun first, a slow one is not what all wait for at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    if seed := config.getoption("shuffle"):
        slow = {path: random.Random(f"{seed} {path}").random() for path in {item.path for item in items}}
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped on CI: {report.longrepr}"
    return report
