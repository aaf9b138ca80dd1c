"""Who may stay: keys, paths, protocol versions, origins, capacity."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from broadcaster.contracts.apps import App, StaticApps
from broadcaster.gateway.admission import NOBODY, Admission, Refusal
from broadcaster.protocol import close_codes
from broadcaster.protocol.websocket import Upgrade

APP = App(id="1", key="app-key", secret="s" * 32)


def decide(
    target: str = "/app/app-key?protocol=7&client=js&version=8.6.0&flash=false",
    *,
    origin: str = "",
    app: App = APP,
    prefix: str = "",
    connections: int = 0,
    draining: bool = False,
) -> App | Refusal:
    return Admission(StaticApps(app), prefix).decide(
        Upgrade(target, b"", origin, ""), connections=connections, draining=draining
    )


@pytest.mark.parametrize(
    "target",
    [
        "/app/app-key",
        "/app/app-key?",
        "/app/app-key?protocol=7",
        "/app/app-key?protocol=4",
        "/app/app-key?version=8.6.0",
        "/app/app-key?version=7.0.0-beta.1&client=js",
        "/app/app-key?version=",
        "/app/app-key?unknown=%FF&protocol=7",
    ],
)
def test_an_app_s_own_key_is_admitted(target: str) -> None:
    assert decide(target) is APP


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/", close_codes.PATH_NOT_FOUND),
        ("/app", close_codes.PATH_NOT_FOUND),
        ("/application/app-key", close_codes.PATH_NOT_FOUND),
        ("/app/app-key/", close_codes.PATH_NOT_FOUND),
        ("/app/app-key/x", close_codes.PATH_NOT_FOUND),
        ("/ws/app/app-key", close_codes.PATH_NOT_FOUND),
        ("/app/", close_codes.UNKNOWN_APP),
        ("/app/APP-KEY", close_codes.UNKNOWN_APP),
        ("/app/app%2Dkey", close_codes.UNKNOWN_APP),
        ("/app/app-key?version=eight", close_codes.BAD_VERSION),
        ("/app/app-key?version=8.", close_codes.BAD_VERSION),
        ("/app/app-key?protocol=", close_codes.NO_PROTOCOL),
        ("/app/app-key?protocol=3", close_codes.UNSUPPORTED_PROTOCOL),
        ("/app/app-key?protocol=8", close_codes.UNSUPPORTED_PROTOCOL),
        ("/app/app-key?protocol=-7", close_codes.UNSUPPORTED_PROTOCOL),
        ("/app/app-key?protocol=" + "7" * 5_000, close_codes.UNSUPPORTED_PROTOCOL),
        ("/app/app-key?protocol=%D9%A7", close_codes.UNSUPPORTED_PROTOCOL),
    ],
)
def test_what_is_wrong_is_named_by_its_code(target: str, code: close_codes.CloseCode) -> None:
    verdict = decide(target)

    assert isinstance(verdict, Refusal)
    assert verdict.code is code
    assert verdict.message.startswith(code.message)
    assert len(verdict.message) <= 200
    assert verdict.app is NOBODY


def test_a_prefix_stands_before_the_path() -> None:
    assert decide("/ws/app/app-key", prefix="/ws") is APP
    assert isinstance(decide("/app/app-key", prefix="/ws"), Refusal)


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://example.com", True),
        ("https://EXAMPLE.com:8443", True),
        ("http://shop.example.org", True),
        ("http://a.b.example.org", True),
        ("", True),
        ("https://evil-example.com", False),
        ("https://example.com.evil.org", False),
        ("https://evil-example.org", False),
        ("https://example.org", False),
        ("null", False),
        ("example.com", False),
        ("https://example.com@evil.org", False),
        ("https://[::1]", False),
        ("https://[::1", False),
        ("file://", False),
    ],
)
def test_origins_are_compared_as_hosts(origin: str, *, admitted: bool) -> None:
    """Clients that are no browser send none, and their auth is what protects an app."""
    limits = replace(APP.limits, allowed_origins=("Example.com", "*.Example.org"))

    verdict = decide(origin=origin, app=replace(APP, limits=limits))

    assert isinstance(verdict, App) is admitted
    if isinstance(verdict, Refusal):
        assert verdict.code is close_codes.UNAUTHORIZED


@pytest.mark.parametrize("origin", ["null", "https://anything.example", "https://[::1"])
def test_an_app_that_names_no_origins_admits_all(origin: str) -> None:
    assert decide(origin=origin) is APP


@pytest.mark.parametrize(
    ("connections", "admitted"), [(0, True), (9, True), (10, False), (11, False)]
)
def test_connections_are_limited_for_those_who_would_come_back(
    connections: int, *, admitted: bool
) -> None:
    app = replace(APP, limits=replace(APP.limits, max_connections=10))

    verdict = decide(app=app, connections=connections)

    assert isinstance(verdict, App) is admitted
    if isinstance(verdict, Refusal):
        assert verdict.code is close_codes.OVER_CAPACITY
        assert verdict.app is app


def test_a_draining_process_sends_newcomers_elsewhere() -> None:
    verdict = decide(draining=True)

    assert isinstance(verdict, Refusal)
    assert verdict.code is close_codes.OVER_CAPACITY


def test_what_is_wrong_for_good_is_said_also_while_draining() -> None:
    verdict = decide("/app/nobody", draining=True)

    assert isinstance(verdict, Refusal)
    assert verdict.code is close_codes.UNKNOWN_APP


def test_socket_ids_are_two_runs_of_digits_that_nobody_has() -> None:
    ids = [Admission.new_socket_id() for _ in range(1_000)]

    assert len(set(ids)) == 1_000
    assert all(re.fullmatch(r"[0-9]{1,16}\.[0-9]{1,16}", socket_id) for socket_id in ids)
