"""Requests go to addresses that were checked, once, and end in time."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from broadcaster.drivers.http.webhooks import READ_BYTES, HttpWebhooks
from broadcaster.errors import AddressRefused, ConfigurationError, DriverUnavailable
from broadcaster.protocol.addresses import AddressRules, parse_allowed
from tests.ports import free_port
from tests.tls import self_signed
from tests.webhooks.receiving import HANG, WebhookReceiver, receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

PRIVATE = AddressRules(private=True)
HEADERS = [("Content-Type", "application/json"), ("X-A", "b")]


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with receiving() as made:
        yield made


class FakeDns:
    """Answers as told, one list after the other; the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_request_arrives_byte_for_byte(receiver: WebhookReceiver) -> None:
    sender = HttpWebhooks(PRIVATE)
    receiver.extra = b"X-More: 1\r\n\r\nthank you"

    answer = await sender.post(receiver.url + "?a=b%20c", HEADERS, b'{"a": "\xc3\xbc"}')
    await sender.aclose()

    assert (answer.status, answer.body) == (200, b"thank you")
    (request,) = receiver.requests
    assert request.line == "POST /hooks?a=b%20c HTTP/1.1"
    assert request.body == b'{"a": "\xc3\xbc"}'
    assert request.header("Content-Type") == "application/json"
    assert request.header("Host") == f"127.0.0.1:{receiver.port}"
    assert request.header("X-A") == "b"


async def test_a_connection_is_used_again(receiver: WebhookReceiver) -> None:
    sender = HttpWebhooks(PRIVATE)

    for _ in range(3):
        await sender.post(receiver.url, HEADERS, b"{}")
    await sender.aclose()

    assert len(receiver.requests) == 3
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0", "0.0.0.0", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost"),
    ],
)
async def test_this_machine_is_refused_however_it_is_written(
    host: str, receiver: WebhookReceiver
) -> None:
    sender = HttpWebhooks(AddressRules())

    with pytest.raises((AddressRefused, DriverUnavailable)) as raised:
        await sender.post(f"http://{host}:{receiver.port}/", HEADERS, b"{}")
    await sender.aclose()

    assert receiver.connections == 0
    if isinstance(raised.value, AddressRefused):
        assert "webhooks.allowed" in raised.value.message


@pytest.mark.parametrize(
    ("address", "private"),
    [
        *(("169.254.169.254", False), ("10.0.0.1", True)),
        *(("fd00::1", True), ("fd00:ec2::254", False), ("fe80::1%1", False)),
    ],
)
async def test_a_name_that_leads_inside_is_refused(address: str, *, private: bool) -> None:
    sender = HttpWebhooks(AddressRules(), resolve=FakeDns([address]))

    with pytest.raises(AddressRefused, match=r"no request is sent to 'meta\.example'") as caught:
        await sender.post("http://meta.example/latest", HEADERS, b"{}")
    await sender.aclose()

    # Only what would help is offered.
    assert ("webhooks.allow_private" in caught.value.message) is private


async def test_the_address_that_was_checked_is_the_one_connected_to(
    receiver: WebhookReceiver,
) -> None:
    """A second look at the name would lead elsewhere: nobody takes one."""
    dns = FakeDns(["127.0.0.1"], ["169.254.169.254"])
    sender = HttpWebhooks(parse_allowed(["127.0.0.0/8"], private=False), resolve=dns)

    await sender.post(f"http://rebound.example:{receiver.port}/x", HEADERS, b"{}")
    await sender.aclose()

    assert dns.asked == ["rebound.example"]
    assert receiver.requests[0].header("Host") == f"rebound.example:{receiver.port}"


async def test_of_several_addresses_only_allowed_ones_are_tried(receiver: WebhookReceiver) -> None:
    dns = FakeDns(["10.255.0.1", "127.0.0.1"])
    sender = HttpWebhooks(parse_allowed(["127.0.0.1"], private=False), resolve=dns)

    await sender.post(f"http://two.example:{receiver.port}/", HEADERS, b"{}")
    await sender.aclose()

    assert len(receiver.requests) == 1


async def test_a_host_without_an_address_is_no_answer() -> None:
    async def nothing(host: str, port: int) -> Sequence[str]:
        raise OSError(f"{host}:{port} is unknown")

    for resolve in (nothing, FakeDns([])):
        sender = HttpWebhooks(PRIVATE, resolve=resolve)
        with pytest.raises(DriverUnavailable, match=r"gone\.example"):
            await sender.post("http://gone.example/", HEADERS, b"{}")
        await sender.aclose()


async def test_a_redirect_is_an_answer_and_nothing_more(receiver: WebhookReceiver) -> None:
    sender = HttpWebhooks(PRIVATE)
    receiver.answer = lambda _: 302
    receiver.extra = b"Location: http://169.254.169.254/latest\r\n\r\n"

    assert (await sender.post(receiver.url, HEADERS, b"{}")).status == 302
    await sender.aclose()

    assert len(receiver.requests) == 1


async def test_who_does_not_answer_is_given_up_in_time(receiver: WebhookReceiver) -> None:
    sender = HttpWebhooks(PRIVATE, timeout=0.2)
    receiver.answer = lambda _: HANG

    with pytest.raises(DriverUnavailable, match=r"no answer within 0\.2 s"):
        await sender.post(receiver.url, HEADERS, b"{}")
    await sender.aclose()


async def test_nobody_there_is_a_refused_connection() -> None:
    sender = HttpWebhooks(PRIVATE)

    with pytest.raises(DriverUnavailable, match="no answer: connection refused"):
        await sender.post(f"http://127.0.0.1:{free_port()}/", HEADERS, b"{}")
    await sender.aclose()


async def test_a_receiver_without_tls_is_told_from_one_with_it() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    sender = HttpWebhooks(PRIVATE)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(DriverUnavailable, match=r"is it http:// instead of https://\?"):
        await sender.post(f"https://127.0.0.1:{port}/", HEADERS, b"{}")

    await sender.aclose()
    server.close()
    await server.wait_closed()


async def test_a_connection_that_takes_too_long_is_said_to(receiver: WebhookReceiver) -> None:
    """It waits for the client to go on, who waits for its TLS."""
    sender = HttpWebhooks(PRIVATE, timeout=3)

    with pytest.raises(DriverUnavailable, match=r"no answer: no connection in time"):
        await sender.post(f"https://127.0.0.1:{receiver.port}/", HEADERS, b"{}")
    await sender.aclose()


async def test_no_more_of_an_answer_is_read_than_a_bound(receiver: WebhookReceiver) -> None:
    sender = HttpWebhooks(PRIVATE)
    receiver.extra = b"Content-Length: 1000000000\r\n\r\n" + b"a" * (2 * READ_BYTES)

    answer = await sender.post(receiver.url, HEADERS, b"{}")
    await sender.aclose()

    assert answer.status == 200
    assert answer.body == b"a" * 300


@pytest.mark.parametrize("junk", [b"SSH-2.0-OpenSSH_9\r\n", b"\x00" * 100, b""])
async def test_what_speaks_another_protocol_is_no_answer(junk: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(junk)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    sender = HttpWebhooks(PRIVATE, timeout=5)
    port = server.sockets[0].getsockname()[1]

    with pytest.raises(DriverUnavailable):
        await sender.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}")

    await sender.aclose()
    server.close()
    await server.wait_closed()


async def test_proxies_of_the_environment_are_not_used(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    sender = HttpWebhooks(PRIVATE)

    assert (await sender.post(receiver.url, HEADERS, b"{}")).status == 200
    await sender.aclose()


async def test_a_certificate_is_checked_against_the_name_not_the_address(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate.cert, certificate.key)
    trusting = ssl.create_default_context(cafile=str(certificate.cert))
    dns = FakeDns(["127.0.0.1"])
    async with receiving(tls=server) as receiver:
        sender = HttpWebhooks(PRIVATE, resolve=dns, tls=trusting)
        assert (await sender.post(receiver.url, HEADERS, b"{}")).status == 200
        with pytest.raises(DriverUnavailable, match=r"(?i)certificate"):
            await sender.post(f"https://other.example:{receiver.port}/", HEADERS, b"{}")
        await sender.aclose()

        suspicious = HttpWebhooks(PRIVATE, resolve=dns)
        with pytest.raises(DriverUnavailable, match=r"(?i)certificate"):
            await suspicious.post(receiver.url, HEADERS, b"{}")
        await suspicious.aclose()
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://a:b@127.0.0.1/", "http://a.b:22/"])
async def test_a_url_that_no_endpoint_may_have_is_refused(url: str) -> None:
    sender = HttpWebhooks(PRIVATE)

    with pytest.raises(ConfigurationError):
        await sender.post(url, HEADERS, b"{}")
    await sender.aclose()
