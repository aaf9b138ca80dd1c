from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from broadcaster_auth import Endpoint
from broadcaster_auth.endpoint import default_user_data

from broadcaster.errors import ConfigurationError, Denied
from broadcaster.protocol.signing import verify_user
from broadcaster.protocol.subscription_auth import verify_signed
from tests.auth.conftest import ADA, NOW, User, asked, error_of, make_rules
from tests.auth.grant_keys import SECRET, app_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.contracts.apps import App
    from tests.auth.conftest import Server

    Serve = Callable[..., Server]

APP = app_with()
EVE = {"Authorization": "Bearer eve-token"}


def test_what_the_endpoint_answers_opens_the_channel(serve: Serve) -> None:
    for channel in ("private-orders.1", "presence-chat.a"):
        response = serve().ask(data=asked(channel), headers=ADA)

        assert response.status_code == 200
        answer = response.json()
        verified = verify_signed(
            APP,
            auth=answer["auth"],
            socket_id="1234.1234",
            channel=channel,
            channel_data=answer["channel_data"],
            now=NOW,
        )
        assert verified.user_id == "1"
        assert verified.expires_at == NOW + 86_400


def test_a_form_json_and_a_query_get_the_same_answer(serve: Serve) -> None:
    form = serve().ask(data=asked("private-orders.1"), headers=ADA)

    assert serve().ask(json=asked("private-orders.1"), headers=ADA).content == form.content
    assert serve().ask("GET", params=asked("private-orders.1"), headers=ADA).content == form.content


@pytest.mark.parametrize("prefix", ["", "/broadcasting", "/pusher", "/a/b", "/broadcasting/"])
def test_it_can_be_mounted_under_any_prefix(serve: Serve, prefix: str) -> None:
    path = f"{prefix.rstrip('/')}/auth"

    assert serve().ask(path=path, data=asked("private-orders.1"), headers=ADA).status_code == 200
    assert serve().ask(path=path + "/", data=asked("private-orders.1"), headers=ADA).is_success


@pytest.mark.parametrize(
    ("channel", "headers", "code"),
    [
        ("private-orders.2", ADA, "rule_refused"),
        ("private-orders.1", EVE, "rule_refused"),
        ("private-orders.1", {}, "unauthenticated"),
        ("private-orders.1", {"Authorization": "Bearer wrong"}, "unauthenticated"),
        ("private-orders.x", ADA, "no_rule"),
        ("private-", ADA, "no_rule"),
        ("orders.1", ADA, "not_private"),
        ("#server-to-user-1", ADA, "not_private"),
        ("private-admin", ADA, "unauthenticated"),
        ("private-encrypted-orders.2", ADA, "rule_refused"),
    ],
)
def test_a_refusal_names_its_cause_in_development_only(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    channel: str,
    headers: dict[str, str],
    code: str,
) -> None:
    caplog.set_level(logging.INFO, "broadcaster.auth")

    in_development = serve(debug=True).ask(data=asked(channel), headers=headers)
    in_production = serve().ask(data=asked(channel), headers=headers)

    assert in_development.status_code == in_production.status_code == 403
    assert error_of(in_development)["code"] == code
    assert error_of(in_production) == {
        "code": "denied",
        "message": "Not allowed for this user.",
    }
    cause = error_of(in_development)["message"]
    assert [record.getMessage() for record in caplog.records] == [
        f"refused {channel!a}: {cause}"
    ] * 2


def test_only_who_may_enter_an_encrypted_channel_is_told_its_secret(serve: Serve) -> None:
    app = replace(APP, encryption_key=bytes(32))

    allowed = serve(app=app).ask(data=asked("private-encrypted-orders.1"), headers=ADA)
    refused = serve(app=app).ask(data=asked("private-encrypted-orders.1"), headers=EVE)

    assert set(allowed.json()) == {"auth", "channel_data", "shared_secret"}
    assert refused.status_code == 403
    assert "shared_secret" not in refused.text


def test_an_encrypted_channel_without_a_key_is_an_error_of_the_server(serve: Serve) -> None:
    response = serve(debug=True).ask(data=asked("private-encrypted-orders.1"), headers=ADA)

    assert response.status_code == 500
    assert "BROADCASTER_APP_ENCRYPTION_KEY" in error_of(response)["message"]


def test_guards_of_a_rule_replace_the_default_one(serve: Serve) -> None:
    admin = {"X-Staff": "yes"}

    assert serve().ask(data=asked("private-admin"), headers=admin).status_code == 200
    assert serve().ask(data=asked("private-admin"), headers=ADA).status_code == 403


def test_a_guard_that_nobody_gave_is_an_error_of_the_server(serve: Serve) -> None:
    response = serve(guards={}, debug=True).ask(data=asked("private-admin"), headers=ADA)

    assert response.status_code == 500
    assert "names the guard 'staff'" in error_of(response)["message"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (asked("private-a:b"), "invalid_channel"),
        (asked("private-a\n"), "invalid_channel"),
        (asked(""), "invalid_channel"),
        (asked("#x"), "invalid_channel"),
        (asked("private-" + "x" * 200), "invalid_channel"),
        (asked("private-orders.1", "1.2:private-y"), "invalid_socket_id"),
        (asked("private-orders.1", "١٢.٣٤"), "invalid_socket_id"),
        (asked("private-orders.1", ""), "invalid_socket_id"),
        ({"socket_id": "1.2"}, "malformed_message"),
        ({}, "malformed_message"),
    ],
)
def test_what_cannot_be_signed_is_a_bad_request(
    serve: Serve, fields: dict[str, str], code: str
) -> None:
    response = serve().ask(data=fields, headers=ADA)

    assert response.status_code == 400
    assert error_of(response)["code"] == code


def test_a_body_over_64_kb_is_refused(serve: Serve) -> None:
    response = serve().ask(data={**asked("private-orders.1"), "x": "y" * 65_536}, headers=ADA)

    assert response.status_code == 413
    assert error_of(response)["code"] == "message_too_large"


@pytest.mark.parametrize("channel", ["private-" + "x" * 50_000, ["private-x"] * 1_000])
def test_a_hostile_name_does_not_fill_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture, channel: object
) -> None:
    caplog.set_level(logging.INFO, "broadcaster.auth")

    response = serve().ask(json={"socket_id": "1.2", "channel_name": channel}, headers=ADA)

    assert response.status_code == 400
    (record,) = caplog.records
    assert len(record.getMessage()) < 500
    assert len(str(record.__dict__["channel"])) <= 200


def test_a_rule_that_breaks_is_logged_and_nothing_of_it_gets_out(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    response = serve().ask(data=asked("private-broken"), headers=ADA)

    assert response.status_code == 500
    assert error_of(response) == {"code": "server_error", "message": "Server error."}
    assert "hunter2" in caplog.text


def test_a_guard_that_breaks_is_a_server_error_and_one_that_denies_a_refusal(serve: Serve) -> None:
    def breaks(request: Any) -> None:
        raise RuntimeError("no database")

    def denies(request: Any) -> None:
        raise Denied("banned", code="banned")

    assert serve(user=breaks).ask(data=asked("private-orders.1")).status_code == 500
    response = serve(user=denies, debug=True).ask(data=asked("private-orders.1"))
    assert (response.status_code, error_of(response)["code"]) == (403, "banned")


def test_a_sign_in_is_signed_for_whom_the_guard_found(serve: Serve) -> None:
    response = serve(user_data=lambda user: {"id": user.id, "user_info": {"name": user.name}}).ask(
        path="/broadcasting/user-auth", data={"socket_id": "1.2"}, headers=ADA
    )

    answer = response.json()
    assert json.loads(answer["user_data"]) == {"id": "1", "user_info": {"name": "Ada"}}
    verify_user(
        answer["auth"],
        key=APP.key,
        secret=SECRET,
        socket_id="1.2",
        user_data=answer["user_data"],
    )


@pytest.mark.parametrize("options", [{}, {"user_data": lambda user: None}])
def test_nobody_cannot_sign_in(serve: Serve, options: dict[str, Any]) -> None:
    headers = ADA if options else {}
    response = serve(debug=True, **options).ask(
        path="/broadcasting/user-auth", data={"socket_id": "1.2"}, headers=headers
    )

    assert response.status_code == 403
    assert error_of(response)["code"] == "unauthenticated"


def test_other_paths_and_methods_are_not_answered(serve: Serve) -> None:
    assert serve().ask(path="/broadcasting/other", data=asked("private-x")).status_code == 404
    assert serve().ask(path="/", data=asked("private-x")).status_code == 404
    response = serve().ask("DELETE", headers=ADA)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST, OPTIONS"


def test_jsonp_is_not_supported(serve: Serve) -> None:
    """A script tag could read signatures across origins."""
    response = serve().ask(
        "GET", params={**asked("private-orders.1"), "callback": "steal"}, headers=ADA
    )

    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert not response.text.startswith("steal")


def test_answers_are_never_cached(serve: Serve) -> None:
    for headers in (ADA, EVE):
        response = serve().ask(data=asked("private-orders.1"), headers=headers)
        assert response.headers["cache-control"] == "no-store"


def test_a_preflight_of_a_listed_origin_is_answered(serve: Serve) -> None:
    origins = ("https://Shop.example/", "http://localhost:5173")

    response = serve(origins=origins).ask("OPTIONS", headers={"Origin": "https://shop.example"})

    assert response.status_code == 204
    assert response.content == b""
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["access-control-allow-methods"] == "GET, POST"
    allowed = response.headers["access-control-allow-headers"].split(", ")
    assert {"content-type", "authorization", "x-csrf-token", "x-socket-id"} <= set(allowed)
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers


def test_answers_and_refusals_can_be_read_by_listed_origins(serve: Serve) -> None:
    server = serve(origins=("https://shop.example",))
    headers = {**ADA, "Origin": "https://shop.example"}

    for channel in ("private-orders.1", "private-orders.2", "private-a:b"):
        response = server.ask(data=asked(channel), headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://shop.example"


@pytest.mark.parametrize(
    "origin",
    ["https://evil-shop.example", "https://shop.example.evil", "http://shop.example", "null", ""],
)
def test_other_origins_are_not_named(serve: Serve, origin: str) -> None:
    server = serve(origins=("https://shop.example",))

    for method in ("OPTIONS", "POST"):
        response = server.ask(method, headers={"Origin": origin})
        assert "access-control-allow-origin" not in response.headers


def test_any_origin_may_be_allowed_and_none_is_by_default(serve: Serve) -> None:
    headers = {"Origin": "https://x.example"}

    assert (
        serve(origins=("*",)).ask("OPTIONS", headers=headers).headers["access-control-allow-origin"]
        == "*"
    )
    assert "access-control-allow-origin" not in serve().ask("OPTIONS", headers=headers).headers


def test_the_app_may_be_looked_up_for_each_request(serve: Serve) -> None:
    response = serve(app=lambda: APP).ask(data=asked("private-orders.1"), headers=ADA)

    assert response.json()["auth"].startswith(APP.key + ":")


def test_a_view_can_answer_with_the_user_it_has() -> None:
    endpoint = Endpoint(app=APP, authorizer=make_rules())

    good = endpoint.respond(asked("private-orders.1"), user=User(1, "Ada"))
    bad = endpoint.respond(asked("private-orders.1"), user=None)
    sign_in = endpoint.respond({"socket_id": "1.2"}, user=User(1, "Ada"), sign_in=True)

    assert (good.status, bad.status, sign_in.status) == (200, 403, 200)
    assert good.headers["Content-Type"] == "application/json"


def test_a_user_signs_in_by_their_id() -> None:
    assert default_user_data(User(1, "Ada")) == {"id": 1}
    assert default_user_data(object()) is None


class Source:
    """See `broadcaster.contracts.apps.AppSource`."""

    def __init__(self, *, debug: bool) -> None:
        self.is_development = debug

    def __call__(self) -> App:
        return APP

    @property
    def debug(self) -> bool:
        return self.is_development


class Misconfigured(Source):
    @property
    def debug(self) -> bool:
        raise ConfigurationError("gateway.port is no number")


@pytest.mark.parametrize(
    ("app", "said", "explained"),
    [
        (Source(debug=True), None, True),
        (Source(debug=False), None, False),
        (Source(debug=True), False, False),
        (Source(debug=False), True, True),
        (Misconfigured(debug=True), None, False),
        (APP, None, False),
        (lambda: APP, None, False),
    ],
)
def test_what_the_app_says_decides_whether_refusals_explain_themselves(
    app: Source | App | Callable[[], App],
    said: bool | None,  # noqa: FBT001 - a row of the table
    explained: bool,  # noqa: FBT001 - a row of the table
) -> None:
    endpoint = Endpoint(app=app, authorizer=make_rules(), debug=said)

    reply = endpoint.respond(asked("orders.1"), user=None)

    assert reply.status == 403
    assert (b"use 'private-orders.1'" in reply.body) is explained
