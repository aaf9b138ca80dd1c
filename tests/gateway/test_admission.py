"""Who may stay: keys, paths, protocol versions, origins, capacity."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from broadcaster.contracts.apps import App, AppLimits, StaticApps
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
    full: bool = False,
    draining: bool = False,
) -> App | Refusal:
    return Admission(StaticApps(app), prefix).decide(
        Upgrade(target, b"", origin, ""), is_full=lambda _: full, draining=draining
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
        ("http://shop.example.org", True),
        ("", True),
        ("https://evil-example.com", False),
        ("null", False),
    ],
)
def test_a_page_of_another_site_is_told_that_it_is_not_authorized(
    origin: str, *, admitted: bool
) -> None:
    """S6: see `tests/protocol/test_origins.py` for every trick."""
    limits = replace(APP.limits, allowed_origins=("Example.com", "*.Example.org"))

    verdict = decide(origin=origin, app=replace(APP, limits=limits))

    assert isinstance(verdict, App) is admitted
    if isinstance(verdict, Refusal):
        assert verdict.code is close_codes.UNAUTHORIZED


@pytest.mark.parametrize("origin", ["null", "https://anything.example", "https://[::1"])
def test_an_app_that_names_no_origins_admits_all(origin: str) -> None:
    assert decide(origin=origin) is APP


def test_those_for_whom_there_is_no_room_may_come_back() -> None:
    """4004 would silence a page for good, and room is made in a moment."""
    verdict = decide(full=True)

    assert isinstance(verdict, Refusal)
    assert verdict.code is close_codes.OVER_CAPACITY
    assert verdict.app is APP


def test_a_disabled_app_is_closed_whatever_else_is_wrong() -> None:
    for target in ("/app/app-key?protocol=7", "/app/app-key?protocol=3"):
        verdict = decide(target, app=replace(APP, enabled=False), full=True, draining=True)

        assert isinstance(verdict, Refusal)
        assert verdict.code is close_codes.APP_DISABLED


def test_a_draining_process_sends_newcomers_elsewhere() -> None:
    verdict = decide(draining=True)

    assert isinstance(verdict, Refusal)
    assert verdict.code is close_codes.OVER_CAPACITY


def test_the_log_says_what_there_is_no_room_in() -> None:
    limited = replace(APP, limits=AppLimits(max_connections=7))

    causes = [
        verdict.cause
        for verdict in (decide(full=True), decide(app=limited, full=True), decide(draining=True))
        if isinstance(verdict, Refusal)
    ]

    assert causes == [
        "this process holds all the sockets it may (gateway.max_connections)",
        (
            "app 1 has its 7 connections (max_connections), or "
            "this process holds all the sockets it may (gateway.max_connections)"
        ),
        "this gateway is stopping",
    ]


def test_what_is_wrong_for_good_is_said_also_while_draining() -> None:
    verdict = decide("/app/nobody", draining=True)

    assert isinstance(verdict, Refusal)
    assert verdict.code is close_codes.UNKNOWN_APP


def test_socket_ids_are_two_runs_of_digits_that_nobody_has() -> None:
    ids = [Admission.new_socket_id() for _ in range(1_000)]

    assert len(set(ids)) == 1_000
    assert all(re.fullmatch(r"[0-9]{1,16}\.[0-9]{1,16}", socket_id) for socket_id in ids)
