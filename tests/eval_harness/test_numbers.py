"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from eval_harness import numbers


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.percent(0.948), "94.8 %"),
        (numbers.interval(0.929, 0.9641), "92.9–96.4"),
        (numbers.of_all(15 / 16, 16), "15 of 16"),
        (numbers.count(1234567), "1,234,567"),
        (numbers.error(1.23e-7), "1.2e-7"),
        (numbers.error(0.0), "0"),
        (numbers.rate(3e-4), "3e-4"),
        (numbers.rate(2.5e-5), "2.5e-5"),
        (numbers.duration(0.421), "0.42 s"),
        (numbers.duration(59.9), "1 min 00 s"),
        (numbers.duration(4000), "1 h 06 min"),
        (numbers.memory(3174.4), "3.1 GiB"),
        (numbers.memory(820), "820 MiB"),
        (numbers.percent(None), "–"),
        (numbers.percent(math.nan), "–"),
        (numbers.interval(None, 1.0), ""),
    ],
)
def test_written(written, expected):
    assert written.replace("\u00a0", " ") == expected
