"""Whatever listens there is no Redis, and no sentinel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.redis.client import RedisClients, translated
from broadcaster.drivers.redis.scripts_loader import arun, load_script, run
from broadcaster.drivers.redis.sentinel import MasterFinder, masters_that_are
from broadcaster.drivers.redis.sentinel_urls import parse_sentinel_url
from broadcaster.errors import DriverUnavailable
from tests.drivers.redis.slow_server import ANSWERS, SlowServer

if TYPE_CHECKING:
    from collections.abc import Sequence

CALL = load_script("queue_unlock")
STUMBLES = {
    "status": b"+OK\r\n",
    "number": b":1\r\n",
    "nothing": b"*-1\r\n",
    "flat list": b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n",
    "errors inside": b"*1\r\n-ERR no\r\n",
    "error": b"-ERR unknown command\r\n",
    "elsewhere": b"-MOVED\r\n",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


def bulk(parts: Sequence[str]) -> bytes:
    lines = [f"${len(part)}\r\n{part}\r\n" for part in parts]
    return f"*{len(parts)}\r\n{''.join(lines)}".encode()


def masters(host: str, port: str) -> bytes:
    said = ["name", "shop", "ip", host, "port", port, "flags", "master"]
    return b"*1\r\n" + bulk([*said, "num-other-sentinels", "0"])


@pytest.mark.parametrize("step", [b"CLIENT", b"SELECT", b"EVALSHA"])
@pytest.mark.parametrize("answer", [b"-MOVED\r\n", b"-ASK x\r\n", STUMBLES["no protocol"]])
async def test_what_redis_py_stumbles_over_is_a_server_that_is_not_there(
    step: bytes, answer: bytes
) -> None:
    with SlowServer(answers={**ANSWERS, step: answer}) as server:
        clients = RedisClients(f"redis://127.0.0.1:{server.port}/3")

        with pytest.raises(DriverUnavailable):
            run(clients.sync, CALL, ["k"], ["a"])
        with pytest.raises(DriverUnavailable):
            await arun(clients.aio, CALL, ["k"], ["a"])

        await clients.aclose()


async def test_a_host_that_can_have_no_address_cannot_be_reached() -> None:
    clients = RedisClients("redis://no..such.example:6379/0")

    with pytest.raises(DriverUnavailable, match="cannot be reached"):
        run(clients.sync, CALL, ["k"], ["a"])
    with pytest.raises(DriverUnavailable, match="cannot be reached"):
        await arun(clients.aio, CALL, ["k"], ["a"])

    await clients.aclose()


@pytest.mark.parametrize("answer", STUMBLES.values(), ids=STUMBLES)
async def test_the_other_sentinels_are_asked_when_one_is_none(answer: bytes) -> None:
    with SlowServer() as master:
        named = masters("127.0.0.1", str(master.port))
        with (
            SlowServer(answers={b"SENTINEL": answer, b"SENTINEL MASTERS": answer}) as none,
            SlowServer(answers={b"SENTINEL": named, b"SENTINEL MASTERS": named}) as one,
        ):
            url = f"redis+sentinel://127.0.0.1:{none.port},127.0.0.1:{one.port}/shop/0"
            clients = RedisClients(url)
            finder = MasterFinder(parse_sentinel_url(url))

            assert run(clients.sync, CALL, ["k"], ["a"]) == 1
            assert await arun(clients.aio, CALL, ["k"], ["a"]) == 1
            assert await finder.find() == ("127.0.0.1", master.port)

            await finder.aclose()
            await clients.aclose()


@pytest.mark.parametrize("answer", STUMBLES.values(), ids=STUMBLES)
async def test_without_any_sentinel_there_is_no_server(answer: bytes) -> None:
    with SlowServer(answers={b"SENTINEL": answer, b"SENTINEL MASTERS": answer}) as none:
        url = f"redis+sentinel://127.0.0.1:{none.port}/shop/0"
        clients = RedisClients(url)
        finder = MasterFinder(parse_sentinel_url(url))

        with pytest.raises(DriverUnavailable):
            run(clients.sync, CALL, ["k"], ["a"])
        with pytest.raises(DriverUnavailable):
            await arun(clients.aio, CALL, ["k"], ["a"])
        with pytest.raises(ConnectionError):
            await finder.find()

        await finder.aclose()
        await clients.aclose()


def test_only_masters_are_told_to_whom_one_can_connect() -> None:
    well = {"ip": "10.0.0.1", "port": 6379}
    told = {
        "well": well,
        "nowhere": {"port": 6379},
        "empty": {"ip": "", "port": 6379},
        "zero": {"ip": "a\0b", "port": 6379},
        "dots": {"ip": "a..b", "port": 6379},
        "no port": {"ip": "10.0.0.1"},
        "text": {"ip": "10.0.0.1", "port": "x"},
        "far": {"ip": "10.0.0.1", "port": 65_536},
    }

    assert masters_that_are(told) == {"well": well}


def test_what_else_goes_wrong_amid_a_call_stays_what_it_is() -> None:
    clients = RedisClients("redis://127.0.0.1:1/0")

    with pytest.raises(TypeError, match="ours"), translated(clients.sync):
        raise TypeError("ours")


def test_what_a_handler_of_signals_raises_amid_a_call_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SoftTimeLimitExceededError(Exception):
        """As Celery has one."""

    def interrupted(_: object) -> None:
        raise SoftTimeLimitExceededError

    clients = RedisClients("redis://127.0.0.1:1/0")
    monkeypatch.setattr(clients.sync.connection_pool.connection_class, "_connect", interrupted)

    with pytest.raises(SoftTimeLimitExceededError):
        run(clients.sync, CALL, ["k"], ["a"])
