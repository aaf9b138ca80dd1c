"""
One round: every measurement once, yardstick and gateway alternately.

Nothing is subtracted from what a server's process used between two silences. For the
relay that is: read one message from a client, send it to all. For the gateway: read the
event from Redis's pub/sub connection, check its continuity, find the channel, frame it,
write it to all; and whatever else a gateway process does meanwhile (its lease, its checks
of connections, its log).
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import servers, templates
from benchmarks.load import Load, Run
from benchmarks.publisher import publish_at_pace
from broadcaster.drivers.redis.scripts_loader import load_script

if TYPE_CHECKING:
    from benchmarks.figures import Report
    from benchmarks.servers import Cores, Server
    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.drivers.redis.embedded import EmbeddedServer

CHANNEL = "bench"
PREFIX = "bench"
IN_FLIGHT = 20
JOINED = 10
SLOW_SIZE = 4_096
SLOW_IN_FLIGHT = 4
SLOW_SHARE = 100
WARM_SECONDS = 0.2
BOTTLENECK = 0.02
A_SECOND = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """
    How much is measured.

    Attributes:
        rounds: repetitions; medians are taken over them.
        seconds: of each run.
        connections: that receive an event.
        idle: connections of the figures about many.
        joining: connections of the connect figure.
        size: bytes of an event's ``data``.
    """

    rounds: int = 5
    seconds: float = 1.5
    connections: int = 1_000
    idle: int = 10_000
    joining: int = 1_000
    size: int = 200


class Rounds:
    """
    Holds the servers and the connections that all rounds share.

    Args:
        sizes: how much to measure.
        cores: whose core is which.
        redis: the running server, on the client's core.
        clients: of that server.
        report: receives values and notes.
    """

    def __init__(
        self,
        sizes: Sizes,
        cores: Cores,
        redis: EmbeddedServer,
        clients: RedisClients,
        report: Report,
    ) -> None:
        self._sizes = sizes
        self._cores = cores
        self._redis = redis
        self._clients = clients
        self._report = report
        self._redis_target = "unix:" + redis.url.removeprefix("unix://").partition("?")[0]
        self._values: dict[str, float | None] = {}

    def run(self) -> None:
        """Start everything, measure all rounds, stop everything."""
        sizes = self._sizes
        with ExitStack() as stack:
            relay = stack.enter_context(servers.relay(self._cores))
            gateway = stack.enter_context(
                servers.gateway(self._cores, self._redis.url, self._clients.prefix)
            )
            starlette = stack.enter_context(servers.starlette(self._cores))
            to_relay = stack.enter_context(
                Load(relay.port, [relay.pid], connections=sizes.connections)
            )
            to_gateway = stack.enter_context(self._load(gateway, CHANNEL, sizes.connections))
            self._warm_up(to_relay, to_gateway)
            for number in range(1, sizes.rounds + 1):
                self._values = {}
                say(f"round {number} of {sizes.rounds}")
                self._fan_out(to_relay, to_gateway)
                self._connect(gateway, starlette)
                self._slow(gateway)
                self._redis_cost(gateway)
                self._http(gateway)
                self._many()
                self._report.rounds.append(self._values)

    # -- the figures ------------------------------------------------------------------

    def _fan_out(self, to_relay: Load, to_gateway: Load) -> None:
        first = self._single_in_c(to_relay)
        single = self._through_redis(to_gateway, "one message", self._script())
        others = self._script(excluded=to_gateway.ready.socket_id)
        but_one = self._through_redis(to_gateway, "leaving one out", others, spared=1)
        joined = self._through_redis(to_gateway, "ten joined", self._script(messages=JOINED))
        script = self._through_redis(
            to_gateway, "script, 20 in flight", self._script(), in_flight=IN_FLIGHT
        )
        template = templates.plain_publish(self._clients.keys, CHANNEL, self._sizes.size)
        plain = self._through_redis(
            to_gateway, "PUBLISH, 20 in flight", template, in_flight=IN_FLIGHT
        )
        last = self._single_in_c(to_relay)
        c_us = None if first is None or last is None else _mean(first, last)
        self._values["c_us"] = c_us
        self._keep_ratio("single", single, c_us)
        self._keep_ratio("others", but_one, c_us)
        for name, run in (("joined", joined), ("redis", script), ("plain", plain)):
            self._keep_ratio(name, run, c_us, inverse=True)
        if single is not None:
            self._values["single_user_us"] = single.cpu_us_each * single.user_share
        for name, run in (("redis_per_s", script), ("plain_per_s", plain)):
            self._values[name] = None if run is None else 1 / run.cpu_us_each

    def _connect(self, gateway: Server, starlette: Server) -> None:
        n = self._sizes.joining
        with Load(starlette.port, [starlette.pid], connections=n) as load:
            theirs = load.ready.cpu_us_each
        say(f"    {'Starlette, accept':<28}{theirs:9.2f} us")
        with self._load(gateway, f"{CHANNEL}-connect", n) as load:
            ours = load.ready.cpu_us_each
        say(f"    {'connect + subscribe':<28}{ours:9.2f} us")
        self._values |= {"connect": ours / theirs, "connect_us": ours, "starlette_us": theirs}

    def _slow(self, gateway: Server) -> None:
        """Compare the same traffic with and without readers that never read, twice each."""
        n = self._sizes.connections
        cost: dict[int, list[float]] = {}
        wall: dict[int, list[float]] = {}
        for slow in (0, max(n // SLOW_SHARE, 1)) * 2:
            channel = f"{CHANNEL}-slow-{slow}"
            template = templates.script_call(self._clients.keys, channel, SLOW_SIZE)
            name = f"{slow} never read" if slow else "all read"
            with self._load(gateway, channel, n, slow=slow) as load:
                run = self._through_redis(load, name, template, in_flight=SLOW_IN_FLIGHT)
            if run is None:
                return
            cost.setdefault(slow, []).append(run.cpu_us_each)
            wall.setdefault(slow, []).append(run.per_second)
        all_read, some = (sum(values) for values in cost.values())
        self._values["slow"] = all_read / some
        all_read, some = (sum(values) for values in wall.values())
        self._values["slow_wall"] = some / all_read

    def _http(self, gateway: Server) -> None:
        seconds = max(self._sizes.seconds, 0.2)
        channel = f"{CHANNEL}-http"
        with self._load(gateway, channel, 1, sleep=True) as load:
            load.listen(seconds + 0.5)
            count = publish_at_pace(
                gateway.port, channel, size=self._sizes.size, a_second=A_SECOND, seconds=seconds
            )
            run = load.end(seconds + 0.5)
        if run.received != count:
            self._report.notes.append(f"HTTP: {count - run.received} of {count} events missing")
            return
        say(f"    {'HTTP publish':<28}{run.cpu_us / count:9.2f} us, p50 {run.p50_us / 1e3:.2f} ms")
        self._values |= {
            "http_p50": run.p50_us / 1e3,
            "http_p99": run.p99_us / 1e3,
            "http_cpu": run.cpu_us / count,
        }

    def _many(self) -> None:
        """Use fresh processes: those that have had other connections have free memory."""
        n = self._sizes.idle
        prefix = f"{self._clients.prefix}-idle"
        with (
            servers.starlette(self._cores) as starlette,
            Load(starlette.port, [starlette.pid], connections=n) as load,
        ):
            theirs = load.ready
        with (
            servers.gateway(self._cores, self._redis.url, prefix) as gateway,
            self._load(gateway, CHANNEL, n) as load,
        ):
            ours = load.ready
        self._values |= {
            "memory": ours.kib_each,
            "starlette_kib": theirs.kib_each,
            "connect_many": ours.cpu_us_each / theirs.cpu_us_each,
        }
        for name, ready in (("Starlette, many", theirs), ("connect + subscribe, many", ours)):
            say(f"    {name:<28}{ready.cpu_us_each:9.2f} us{ready.kib_each:10.2f} KiB")

    # -- parts ------------------------------------------------------------------------

    def _load(
        self, gateway: Server, channel: str, connections: int, *, slow: int = 0, sleep: bool = False
    ) -> Load:
        return Load(
            gateway.port,
            [gateway.pid],
            path=servers.SOCKET_PATH,
            channel=channel,
            connections=connections,
            slow=slow,
            sleep=sleep,
        )

    def _warm_up(self, to_relay: Load, to_gateway: Load) -> None:
        """Let both sides, and Redis, have done everything once."""
        script = self._script()
        self._clients.sync.script_load(load_script("publish").source)
        to_relay.run(WARM_SECONDS, self._message(), "socket")
        to_gateway.run(WARM_SECONDS, script, self._redis_target, in_flight=IN_FLIGHT)

    def _message(self) -> bytes:
        return templates.client_message(templates.event_frame(CHANNEL, self._sizes.size))

    def _script(self, *, messages: int = 1, excluded: str = "") -> bytes:
        return templates.script_call(
            self._clients.keys, CHANNEL, self._sizes.size, messages=messages, excluded=excluded
        )

    def _single_in_c(self, to_relay: Load) -> float | None:
        run = to_relay.run(self._sizes.seconds, self._message(), "socket")
        return run.cpu_us_each if self._accept(run, "C relay, one message") else None

    def _through_redis(
        self, load: Load, name: str, template: bytes, *, in_flight: int = 1, spared: int = 0
    ) -> Run | None:
        run = load.run(
            self._sizes.seconds, template, self._redis_target, in_flight=in_flight, spared=spared
        )
        return run if self._accept(run, name) else None

    def _accept(self, run: Run, name: str) -> bool:
        say(
            f"    {name:<28}{run.cpu_us_each:9.2f} us"
            f"{run.per_second / 1e3:10.0f} k/s  client idle {run.client_idle:.0%}"
        )
        if not run.valid:
            self._report.notes.append(
                f"{name}: no measurement, {run.missing} messages missing, {run.closed} "
                f"connections closed, {run.refused} publications refused"
            )
        elif run.client_idle < BOTTLENECK:
            self._report.notes.append(
                f"{name}: the load generator was the bottleneck in some round "
                "(CPU per delivery stands, wall time does not)"
            )
        return run.valid

    def _keep_ratio(
        self, name: str, run: Run | None, c_us: float | None, *, inverse: bool = False
    ) -> None:
        if run is None:
            return
        self._values[f"{name}_us"] = run.cpu_us_each
        if c_us is not None:
            ratio = run.cpu_us_each / c_us
            self._values[name] = 1 / ratio if inverse else ratio

    def _redis_cost(self, gateway: Server) -> None:
        """
        What Redis needs for a publish, with nobody competing for its core.

        Its own figure is wall time inside the script; the process's is CPU time for
        everything: reading the command, running it, writing to the gateway.
        """
        channel = f"{CHANNEL}-cost"
        template = templates.script_call(self._clients.keys, channel, self._sizes.size)
        with self._load(gateway, channel, 1, sleep=True) as load:
            before = self._redis_usage()
            run = self._through_redis(load, "script, one subscriber", template, in_flight=IN_FLIGHT)
            after = self._redis_usage()
        if run is None:
            return
        calls, script_us, process_us = (b - a for a, b in zip(before, after, strict=True))
        self._values |= {"redis_cpu": process_us / calls, "redis_script": script_us / calls}

    def _redis_usage(self) -> tuple[float, float, float]:
        """Return calls of scripts, microseconds in them, microseconds of the process."""
        stats = self._clients.sync.info("commandstats")["cmdstat_evalsha"]
        return float(stats["calls"]), float(stats["usec"]), _cpu_us(self._redis.pid)


def say(line: str) -> None:
    """Tell how far we are."""
    print(line, file=sys.stderr, flush=True)


def _mean(a: float, b: float) -> float:
    return (a + b) / 2


def _cpu_us(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e3
