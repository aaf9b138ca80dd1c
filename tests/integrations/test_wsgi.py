from __future__ import annotations

from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import httpx
import pytest

from broadcaster import context
from broadcaster.integrations.wsgi import SocketIdMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def plain(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(context.socket_id.get()).encode()]


def streaming(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(3):
        yield f"{context.socket_id.get()},".encode()


def get(app: WSGIApplication, headers: dict[str, str]) -> str:
    transport = httpx.WSGITransport(app=app)
    with httpx.Client(transport=transport, base_url="http://app.test") as client:
        return client.get("/", headers=headers).text


@pytest.mark.parametrize(("app", "expected"), [(plain, "1.2"), (streaming, "1.2,1.2,1.2,")])
def test_the_socket_id_is_known_until_the_response_is_done(
    app: WSGIApplication, expected: str
) -> None:
    assert get(SocketIdMiddleware(app), {"X-Socket-ID": "1.2"}) == expected
    assert context.socket_id.get() is None


@pytest.mark.parametrize("headers", [{}, {"X-Socket-ID": "undefined"}, {"X-Socket-ID": "1.2:x"}])
def test_without_a_good_one_there_is_none(headers: dict[str, str]) -> None:
    assert get(SocketIdMiddleware(plain), headers) == "None"


def start(app: Callable[..., Iterable[bytes]], socket_id: str) -> Iterable[bytes]:
    environ: dict[str, Any] = {"HTTP_X_SOCKET_ID": socket_id}
    setup_testing_defaults(environ)
    return SocketIdMiddleware(app)(environ, lambda *given: lambda data: None)  # type: ignore[arg-type]  # accepts any


def test_two_responses_of_one_thread_do_not_mix() -> None:
    first, second = start(streaming, "1.1"), start(streaming, "2.2")

    mixed = [next(iter(first)), next(iter(second)), next(iter(first)), next(iter(second))]

    assert mixed == [b"1.1,", b"2.2,", b"1.1,", b"2.2,"]
    assert context.socket_id.get() is None


def test_a_response_is_closed_in_its_own_context_even_when_abandoned() -> None:
    seen: list[str | None] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

        def close(self) -> None:
            seen.append(context.socket_id.get())

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return Body()

    response = start(app, "1.2")
    assert next(iter(response)) == b"a"
    response.close()  # type: ignore[attr-defined]  # WSGI allows for it

    assert seen == ["1.2"]


def test_a_failing_application_leaves_nothing_behind() -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        start(app, "1.2")
    assert context.socket_id.get() is None


def test_it_keeps_to_the_letter_of_wsgi() -> None:
    assert get(validator(SocketIdMiddleware(validator(plain))), {"X-Socket-ID": "1.2"}) == "1.2"
