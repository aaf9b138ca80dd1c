"""
Ours against Celery, Dramatiq, taskiq and SAQ: ``python -m benchmarks.queue.compare``.

All drain jobs that do nothing, from one server, one after the other and in turns; the
middle of the rounds counts. See README.md in this folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.queue.ours import Figure, loop_factory, measure, table
from broadcaster.drivers.redis.embedded import EmbeddedServer

OURS = "broadcaster"
PEERS = ("celery", "dramatiq", "taskiq", "saq")
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
TIMES = 8
"""Jobs of ours for one of the others, so that all take about as long."""


class Run(NamedTuple):
    """One drain: jobs a second, and what each has cost Redis."""

    rate: float
    commands: float
    microseconds: float


def drained(python: str, library: str, url: str, jobs: int, concurrency: int) -> Run | None:
    """Return how fast one library was; None if it is not there or does not end."""
    script = str(Path(__file__).with_name("peers.py"))
    paths = {"PYTHONPATH": str(ROOT)} if library == OURS else {}
    try:
        ended = subprocess.run(
            [python, script, library, url, str(jobs), str(concurrency)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, **paths},
        )
    except subprocess.TimeoutExpired:
        print(f"{library} did not end within {SECONDS} s", file=sys.stderr)
        return None
    for line in ended.stdout.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            return Run(jobs / said["seconds"], said["commands"], said["microseconds"])
    last = ended.stderr.strip().splitlines()[-1:] or ["no output"]
    print(f"{library} could not be measured: {last[0]}", file=sys.stderr)
    return None


def compared(python: str, url: str, jobs: int, rounds: int) -> dict[str, list[Run]]:
    """Return the runs of each library, made in turns."""
    found: dict[str, list[Run]] = {OURS: [], **{name: [] for name in PEERS}}
    for number in range(rounds):
        for name, runs in found.items():
            if number and not runs:
                continue  # it is not there
            mine = name == OURS
            run = drained(
                sys.executable if mine else python, name, url, jobs * (TIMES if mine else 1), 100
            )
            if run is not None:
                runs.append(run)
    return {name: runs for name, runs in found.items() if runs}


def against(found: dict[str, list[Run]]) -> list[str]:
    """Return the comparison as lines: medians, and the lowest and highest rate."""
    head = ("jobs/s", "lowest", "highest", "commands/job", "Redis us/job")
    lines = [" ".join([f"{'concurrency 100':<15}", *(f"{each:>12}" for each in head)])]
    for name, runs in found.items():
        rates = sorted(run.rate for run in runs)
        commands = statistics.median(run.commands for run in runs)
        microseconds = statistics.median(run.microseconds for run in runs)
        cells = [f"{rate:>12,.0f}" for rate in (statistics.median(rates), rates[0], rates[-1])]
        lines.append(f"{name:<15} {' '.join(cells)} {commands:>12.2f} {microseconds:>12.1f}")
    return lines


def ratio(found: dict[str, list[Run]]) -> Figure | None:
    """Return ours divided by the best of the others; None without others."""
    medians = {name: statistics.median(run.rate for run in runs) for name, runs in found.items()}
    best = max((rate for name, rate in medians.items() if name != OURS), default=None)
    if best is None or OURS not in medians:
        return None
    return Figure("ours / best of the others", medians[OURS] / best, "times", 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter with the libraries")
    parser.add_argument("--jobs", type=int, default=5_000, help="of the others; ours has 8 times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    said = parser.parse_args()
    jobs, rounds = (2_000, 3) if said.quick else (said.jobs, said.rounds)
    logging.getLogger("broadcaster").setLevel(logging.ERROR)
    with EmbeddedServer() as server, asyncio.Runner(loop_factory=loop_factory()) as runner:
        found = compared(said.python, server.url, jobs, rounds)
        figures = runner.run(measure(server.url, quick=said.quick))
    last = ratio(found)
    print("\n".join([*against(found), "", table([*figures, *([last] if last else [])])]))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\nload of the machine {load} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
