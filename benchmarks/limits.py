"""Stored figures that must not get worse: what `accuracy.py` and `boards.py` printed when they were last made better.

A figure that falls is stored anew in `limits.json`; one that rises by more than its last printed digit fails the
script, and with it CI.
"""

import json
from pathlib import Path

STORED = Path(__file__).with_name("limits.json")
SLACK = 0.05  # percentage points: half of the last digit that is printed, and what another processor's rounding moves


def worse(benchmark: str, figures: dict[str, dict[str, float]]) -> list[str]:
    """A line for each figure (group → name → percent) above the stored one.

    Raises:
        KeyError: a stored figure is not among those given, so that no figure can be dropped unseen.
    """
    stored: dict[str, dict[str, float]] = json.loads(STORED.read_text(encoding="utf-8"))[benchmark]
    return [
        f"{group} {name}: {figures[group][name]:.2f} is worse than the stored {limit:.2f}"
        for group, limits in stored.items()
        for name, limit in limits.items()
        if not figures[group][name] <= limit + SLACK
    ]
