"""
What a thousand hostile connections do to the others: ``python -m benchmarks.hostile``.

One gateway on a core of its own. Ordinary clients receive what a backend publishes over the
HTTP API, first in quiet, then beside the attack (`benchmarks.attackers`), then after it.
Latency is from before the request is written until the event is in the client's hands.
Exit code 0: the others received everything, memory stayed bounded, and their p99 under
attack was within `GOAL` times its quiet value.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.attackers import frame, handshake
from benchmarks.load import BenchmarkError
from benchmarks.servers import KEY, ROOT, SECRET, Server, gateway, share_out_cores
from benchmarks.templates import APP_ID
from broadcaster.drivers.redis.embedded import EmbeddedServer
from broadcaster.protocol.signing import sign_request

GOAL = 2.0
MAX_GROWTH_BYTES = 64 * 1024 * 1024
CHANNEL, EVENT = "orders", "e"
SETTLE_SECONDS = 2.0
_MARK = re.compile(rb"@([0-9]+)T([0-9]+)@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large and how long."""

    attackers: int = 1_000
    clients: int = 20
    a_second: float = 50.0
    rounds: int = 3
    quiet: float = 6.0
    attack: float = 15.0


@dataclass(slots=True)
class Phase:
    """
    What happened in a part of the run.

    Attributes:
        latencies: seconds, of every event at every client.
        lost: events that a client did not get.
        cpu: share of a core that the gateway used.
    """

    name: str
    published: int = 0
    latencies: list[float] = field(default_factory=list)
    lost: int = 0
    cpu: float = 0.0

    def quantile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[int(share * (len(ordered) - 1))] * 1_000 if ordered else float("inf")


@dataclass(slots=True)
class Report:
    """What a run found; sizes in bytes. Phases come in rounds: quiet, attack, after."""

    phases: list[Phase] = field(default_factory=list)
    rss: dict[str, int] = field(default_factory=dict)
    attackers: Counter[str] = field(default_factory=Counter)

    @property
    def growth(self) -> int:
        """How much larger the process became at most."""
        return max(self.rss.values()) - self.rss["before"]

    @property
    def ratios(self) -> list[float]:
        """Of each round: the others' p99 under attack over that in quiet."""
        quiet, attack = self._named("quiet"), self._named("attack")
        return [b.quantile(0.99) / a.quantile(0.99) for a, b in zip(quiet, attack, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of `ratios`: what else the machine does is in no round alike."""
        return statistics.median(self.ratios)

    @property
    def lost(self) -> int:
        """Events that some client did not get."""
        return sum(phase.lost for phase in self.phases)

    def _named(self, name: str) -> list[Phase]:
        return [phase for phase in self.phases if phase.name == name]


class Listener(asyncio.Protocol):
    """An ordinary client: subscribes, and notes when what arrived."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.subscribed = asyncio.Event()
        self.got: dict[int, float] = {}
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say everything that there is to say."""
        self.transport = transport
        text = b'{"event":"pusher:subscribe","data":{"channel":"%b"}}' % CHANNEL.encode()
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(handshake() + frame(text))

    def data_received(self, data: bytes) -> None:
        """Note what came."""
        now = time.perf_counter()
        data = self._tail + data
        if not self.subscribed.is_set() and b"subscription_succeeded" in data:
            self.subscribed.set()
        end = 0
        for mark in _MARK.finditer(data):
            self.got[int(mark[1])] = now - int(mark[2]) / 1e9
            end = mark.end()
        self._tail = data[end:][-200:]

    def close(self) -> None:
        """Leave."""
        if self.transport is not None:
            self.transport.close()


class Backend:
    """Publishes over one HTTP connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._next = 0

    async def publish(self, count: int, a_second: float) -> range:
        """Publish at a pace; return the numbers of the events."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        start, first = time.perf_counter(), self._next
        for number in range(first, first + count):
            await asyncio.sleep(max(start + (number - first) / a_second - time.perf_counter(), 0))
            writer.write(_request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(found[1]) if found else 0)
            if not head.startswith(b"HTTP/1.1 200"):
                raise BenchmarkError(f"a publish was refused: {head[:15]!r} {body[:200]!r}")
            self._next = number + 1
        writer.close()
        return range(first, self._next)


def _request(number: int) -> bytes:
    path = f"/apps/{APP_ID}/events"
    data = f"@{number}T{time.perf_counter_ns()}@"
    body = json.dumps({"name": EVENT, "channel": CHANNEL, "data": data}).encode()
    query = sign_request(
        KEY, SECRET, method="POST", path=path, body=body, params={}, now=time.time()
    )
    head = f"POST {path}?{urlencode(query)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


class Run:
    """One gateway, its ordinary clients, and the phases."""

    def __init__(self, plan: Plan, server: Server) -> None:
        self._plan = plan
        self._server = server
        self._listeners: list[Listener] = []
        self._backend = Backend(server.port)

    async def report(self) -> Report:
        """Go through every phase."""
        plan = self._plan
        loop = asyncio.get_running_loop()
        for _ in range(plan.clients):
            _, listener = await loop.create_connection(Listener, "127.0.0.1", self._server.port)
            self._listeners.append(listener)
            async with asyncio.timeout(10):
                await listener.subscribed.wait()
        try:
            await self._phase("warm-up", 1.0)
            report = Report(rss={"before": resident(self._server.pid)})
            for number in range(1, plan.rounds + 1):
                await self._round(report, number)
        finally:
            for listener in self._listeners:
                listener.close()
        return report

    async def _round(self, report: Report, number: int) -> None:
        plan = self._plan
        report.phases.append(await self._phase("quiet", plan.quiet))
        attackers = self._start_attackers()
        try:
            report.phases.append(await self._phase("attack", plan.attack))
            report.rss[f"attack {number}"] = resident(self._server.pid)
            # They have done what is measured: on a busy machine they would never get to an end.
            os.sched_setscheduler(attackers.pid, os.SCHED_OTHER, os.sched_param(0))
            said, _ = await asyncio.to_thread(attackers.communicate, None, 60)
        finally:
            attackers.kill()
            attackers.wait()
        report.attackers.update(json.loads(said.splitlines()[-1]))
        await asyncio.sleep(SETTLE_SECONDS)
        report.rss["after"] = resident(self._server.pid)

    def _start_attackers(self) -> subprocess.Popen[str]:
        words = [str(self._server.port), str(self._plan.attackers), str(self._plan.attack)]
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.attackers", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def _phase(self, name: str, seconds: float) -> Phase:
        phase = Phase(name)
        began, used = time.monotonic(), cpu_seconds(self._server.pid)
        numbers = await self._backend.publish(
            max(int(seconds * self._plan.a_second), 1), self._plan.a_second
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(  # noqa: ASYNC110 - of many clients
            numbers[-1] in listener.got for listener in self._listeners
        ):
            await asyncio.sleep(0.01)
        for listener in self._listeners:
            for number in numbers:
                if number in listener.got:
                    phase.latencies.append(listener.got[number])
                else:
                    phase.lost += 1
        phase.published = len(numbers)
        phase.cpu = (cpu_seconds(self._server.pid) - used) / (time.monotonic() - began)
        return phase


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(plan: Plan) -> Report:
    """
    Run everything once.

    Raises:
        BenchmarkError: it cannot be run here, or a publish was refused.
    """
    if not sys.platform.startswith("linux"):
        raise BenchmarkError("this reads /proc: it needs Linux")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < plan.attackers + 500:
        raise BenchmarkError(f"only {hard} files may be open: raise `ulimit -n`")
    all_cores = os.sched_getaffinity(0)
    cores = share_out_cores()
    try:
        with EmbeddedServer() as redis, gateway(cores, redis.url, "hostile") as server:
            return asyncio.run(Run(plan, server).report())
    finally:
        os.sched_setaffinity(0, all_cores)


def as_text(report: Report) -> str:
    """Return what a person reads."""
    lines = [f"{'phase':<10}{'events':>8}{'p50':>10}{'p99':>10}{'worst':>10}{'lost':>7}{'CPU':>7}"]
    lines += [
        f"{phase.name:<10}{phase.published:>8}{phase.quantile(0.5):>7.2f} ms"
        f"{phase.quantile(0.99):>7.2f} ms{phase.quantile(1):>7.1f} ms{phase.lost:>7}{phase.cpu:>7.0%}"
        for phase in report.phases
    ]
    memory = ", ".join(f"{size / 1e6:.1f} MB {when}" for when, size in report.rss.items())
    lines += [f"memory    {memory}", "", f"{'attackers':<12}{'in':>6}{'thrown out':>13}"]
    kinds = dict.fromkeys(name.rpartition(" ")[0] for name in sorted(report.attackers))
    lines += [
        f"{kind:<12}{report.attackers.get(f'{kind} in', 0):>6}"
        f"{report.attackers.get(f'{kind} out', 0):>13}"
        for kind in kinds
    ]
    lines += ["", *(f"{'met   ' if met else 'MISSED'} {goal}" for goal, met in verdict(report))]
    return "\n".join(lines)


def verdict(report: Report) -> list[tuple[str, bool]]:
    """Return each goal with what was measured, and whether it was met."""
    each = ", ".join(f"{ratio:.2f}" for ratio in report.ratios)
    return [
        (f"the others lost nothing: {report.lost} lost", report.lost == 0),
        (
            f"memory grew by less than {MAX_GROWTH_BYTES >> 20} MiB: {report.growth / 2**20:.1f}",
            report.growth < MAX_GROWTH_BYTES,
        ),
        (
            f"p99 of the others at most {GOAL:g} times the quiet one: {report.ratio:.2f} ({each})",
            report.ratio <= GOAL,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make hostile", description=__doc__)
    parser.add_argument("--attackers", type=int, default=Plan().attackers)
    parser.add_argument("--seconds", type=float, default=Plan().attack, help="of the attack")
    parser.add_argument("--rounds", type=int, default=Plan().rounds)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    plan = Plan(attackers=options.attackers, attack=options.seconds, rounds=options.rounds)
    try:
        report = measure(plan)
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"goals": dict(verdict(report)), "rss": report.rss}))
    else:
        print(as_text(report))
    return 0 if all(met for _, met in verdict(report)) else 1


if __name__ == "__main__":
    sys.exit(main())
