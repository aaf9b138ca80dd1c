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
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.queue.ours import Bench, Figure, measure, table
from broadcaster.drivers.redis.embedded import EmbeddedServer

LIBRARIES = ("celery", "dramatiq", "taskiq", "saq")
PEERS = Path(__file__).with_name("peers.py")
SECONDS = 120


def peer(python: str, library: str, url: str, jobs: int, concurrency: int) -> float | None:
    """Return jobs a second of one library; None if it is not there or does not end."""
    command = [python, str(PEERS), library, url, str(jobs), str(concurrency)]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    for line in ended.stdout.splitlines():
        if line.startswith("{"):
            return jobs / float(json.loads(line)["seconds"])
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter with the libraries")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    logging.getLogger("broadcaster").setLevel(logging.ERROR)
    found: dict[str, list[float]] = {"broadcaster": [], **{name: [] for name in LIBRARIES}}
    with EmbeddedServer() as server, asyncio.Runner() as runner:
        bench = Bench(server.url)
        for _ in range(said.rounds):
            found["broadcaster"].append(runner.run(bench.drain(100, said.jobs * 4)))
            for name in LIBRARIES:
                rate = peer(said.python, name, server.url, said.jobs, 100)
                if rate is not None:
                    found[name].append(rate)
        figures = runner.run(measure(server.url))
    medians = {name: statistics.median(rates) for name, rates in found.items() if rates}
    for name, rate in medians.items():
        print(f"{name:<12} {rate:>10,.0f} jobs/s at concurrency 100")
    peers = [rate for name, rate in medians.items() if name != "broadcaster"]
    if peers:
        ratio = medians["broadcaster"] / max(peers)
        figures.append(Figure("ours / best of the others", ratio, "times", 8))
    print(table(figures))


if __name__ == "__main__":
    main()
