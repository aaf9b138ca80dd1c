"""Key documents over real HTTP: kept fresh, bounded, and never lost to a bad answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.http.jwks import HttpPublicKeys, next_read
from broadcaster.errors import ConfigurationError
from broadcaster.protocol.jwks import MAX_BYTES
from tests.drivers.http.issuer import Issuer, running_issuer
from tests.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ONE = b'{"keys":[{"kty":"RSA","kid":"1"}]}'
TWO = b'{"keys":[{"kty":"RSA","kid":"2"}]}'
NOW = 1_700_000_000.0


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer(ONE) as issuer:
        yield issuer


class Clock:
    """Unix seconds, moved by the test; waits are of real time and cut short by asking."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def reading(keys: HttpPublicKeys) -> AsyncIterator[HttpPublicKeys]:
    task = asyncio.create_task(keys.run())
    yield keys
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real time, with shorter pauses."""
    for name in ("REFRESH_SECONDS", "ASKED_SECONDS", "LONGEST_PAUSE"):
        monkeypatch.setattr(f"broadcaster.drivers.http.jwks.{name}", 0.1)


@pytest.mark.parametrize(
    ("failures", "asked", "pause"),
    [
        (0, False, 600),
        (0, True, 30),
        (1, True, 1),
        (2, False, 2),
        (5, True, 16),
        (6, True, 30),
        (10_000, True, 30),
    ],
)
def test_when_a_document_is_read_next(failures: int, asked: bool, pause: float) -> None:  # noqa: FBT001 - table
    assert next_read(NOW, failures=failures, asked=asked) == NOW + pause


def test_what_was_never_read_is_read_at_once() -> None:
    assert next_read(None, failures=0, asked=False) < NOW


async def test_a_document_is_read_when_it_is_first_looked_for(issuer: Issuer) -> None:
    clock = Clock()
    async with reading(HttpPublicKeys(clock=clock)) as keys:
        assert keys.find(issuer.url) is None
        await eventually(lambda: keys.find(issuer.url))
        found = keys.find(issuer.url)

    assert found == (ONE, NOW)
    assert issuer.asked == 1


async def test_whoever_waits_is_told_of_every_document(issuer: Issuer, brisk: None) -> None:
    told: list[bool] = []
    keys = HttpPublicKeys()
    keys.on_read(lambda: told.append(keys.find(issuer.url) is not None))
    async with reading(keys):
        keys.refresh(issuer.url)
        await eventually(lambda: len(told) >= 2)

    assert all(told)


async def test_rotation_is_noticed_without_being_asked(issuer: Issuer, brisk: None) -> None:
    async with reading(HttpPublicKeys()) as keys:
        await eventually(lambda: keys.find(issuer.url))
        issuer.body = TWO
        await eventually(lambda: (found := keys.find(issuer.url)) and found.body == TWO)


async def test_asking_often_reads_once_in_thirty_seconds(issuer: Issuer) -> None:
    """Grants with made-up key ids must not make us knock at somebody's door."""
    clock = Clock()
    async with reading(HttpPublicKeys(clock=clock)) as keys:
        await eventually(lambda: keys.find(issuer.url))
        for _ in range(50):
            keys.refresh(issuer.url)
            await asyncio.sleep(0)
        clock.now = NOW + 29.9
        assert issuer.asked == 1
        clock.now = NOW + 30
        keys._wake.set()
        await eventually(lambda: issuer.asked == 2)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"HTTP/1.1 200 OK", b"<html>garbage</html>"),
        (b"HTTP/1.1 200 OK", b'{"keys":[]}' + b" " * MAX_BYTES),
        (b"HTTP/1.1 500 Oops", TWO),
        (b"HTTP/1.1 204 No Content", b""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/keys", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip", b"\x1f\x8b\x08\x00garbage"),
        (b"nonsense", b""),
    ],
    ids=["garbage", "oversize", "error", "empty", "redirect", "compressed", "no HTTP"],
)
async def test_a_bad_answer_leaves_the_last_good_document(
    issuer: Issuer, brisk: None, caplog: pytest.LogCaptureFixture, head: bytes, body: bytes
) -> None:
    caplog.set_level(logging.WARNING, "broadcaster.jwks")
    async with reading(HttpPublicKeys()) as keys:
        await eventually(lambda: keys.find(issuer.url))
        issuer.head, issuer.body = head, body
        await eventually(lambda: caplog.records)
        kept = keys.find(issuer.url)
        issuer.head, issuer.body = b"HTTP/1.1 200 OK", TWO
        await eventually(lambda: (found := keys.find(issuer.url)) and found.body == TWO)

    assert kept is not None
    assert kept.body == ONE
    assert "hidden" not in caplog.text


async def test_a_slow_answer_is_given_up_and_tried_again(
    issuer: Issuer, brisk: None, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.silent = True
    async with reading(HttpPublicKeys(timeout=0.2)) as keys:
        keys.refresh(issuer.url)
        await eventually(lambda: "cannot be read" in caplog.text)
        issuer.silent = False
        await eventually(lambda: keys.find(issuer.url))


async def test_an_absent_server_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    async with reading(HttpPublicKeys()) as keys:
        keys.refresh("http://127.0.0.1:1/keys")
        await eventually(lambda: "cannot be read" in caplog.text)

    assert keys.find("http://127.0.0.1:1/keys") is None


async def test_keys_are_not_read_from_an_address_that_anybody_can_change() -> None:
    with pytest.raises(ConfigurationError, match="https"):
        HttpPublicKeys().find("http://id.example/keys")
