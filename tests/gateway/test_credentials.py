"""Who may ask: every route of the table, with everything that a signature can lack."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import md5
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from broadcaster.contracts.apps import App
from broadcaster.protocol.http_query import Resource, parse_path
from broadcaster.protocol.signing import hmac_hex, request_string, sign_request
from tests.gateway.http_world import (
    ALIAS,
    APP,
    BODIES,
    CHANNELS,
    EVENT,
    EVENTS,
    NOW,
    OTHER,
    PARAMS,
    PATHS,
    ROUTES,
    World,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

Query = dict[str, str]
EMPTY_MD5 = md5(b"", usedforsecurity=False).hexdigest()

every_route = pytest.mark.parametrize(("method", "path"), ROUTES)


@pytest.fixture
def world() -> World:
    return World()


def test_every_route_is_tried() -> None:
    """A new resource needs a path in the table; then all of this file holds for it."""
    assert set(PATHS) == set(Resource)
    assert all(target(path) is resource for resource, path in PATHS.items())


def target(path: str) -> Resource | None:
    found = parse_path(path)
    return found and found.resource


def body_of(path: str) -> bytes:
    body = BODIES.get(path, b"")
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def signed(method: str, path: str, app: App = APP, **options: Any) -> Query:
    """The query of a valid request; a GET has no md5, like those of most libraries."""
    body = options.pop("body", body_of(path))
    query = sign_request(
        app.key,
        app.secret,
        method=method,
        path=path,
        body=body,
        params=PARAMS.get(path, {}),
        now=NOW,
        **options,
    )
    return query if body else resigned(without(query, "body_md5"), method, path, app)


def resigned(query: Mapping[str, str], method: str, path: str, app: App = APP) -> Query:
    """`query` under a signature that fits it."""
    text = request_string(method, path, query)
    return {**query, "auth_signature": hmac_hex(app.secret, text)}


def without(query: Mapping[str, str], *names: str) -> Query:
    return {name: value for name, value in query.items() if name not in names}


async def ask(world: World, method: str, path: str, query: Mapping[str, str]) -> httpx.Response:
    return await world.send(method, path, params=query, content=body_of(path))


@every_route
async def test_a_signed_request_is_served(world: World, method: str, path: str) -> None:
    response = await ask(world, method, path, signed(method, path))

    assert response.is_success


@every_route
async def test_an_unsigned_request_is_refused(world: World, method: str, path: str) -> None:
    response = await world.send(method, path, content=body_of(path))

    assert refusal(response) == (401, "auth_missing", "query parameter auth_key is missing")
    assert world.untouched


@every_route
async def test_a_wrong_signature_is_refused(world: World, method: str, path: str) -> None:
    forged = App(id=APP.id, key=APP.key, secret="guess")

    status, code, message = refusal(await ask(world, method, path, signed(method, path, forged)))

    assert (status, code) == (401, "auth_mismatch")
    assert message.startswith(
        f'Invalid signature: you should have sent HmacSHA256Hex("{method}\\n{path}\\nauth_key=app-key&'
    )
    assert world.untouched


@every_route
async def test_a_refusal_shows_what_to_sign_and_never_how_it_looks_signed(
    world: World, method: str, path: str
) -> None:
    right = signed(method, path)
    wrong = {**right, "auth_signature": "0" * 64}

    response = await ask(world, method, path, wrong)

    assert f"auth_timestamp={right['auth_timestamp']}" in response.text
    assert right["auth_signature"] not in response.text
    assert APP.secret not in response.text


@every_route
@pytest.mark.parametrize("age", [601, -601, 10**6])
async def test_a_stale_or_future_signature_is_refused(
    world: World, method: str, path: str, age: int
) -> None:
    world.now = NOW + age

    status, code, message = refusal(await ask(world, method, path, signed(method, path)))

    assert (status, code) == (401, "auth_expired")
    assert f"is {abs(age)} s away from this server's clock" in message
    assert world.untouched


@every_route
@pytest.mark.parametrize("age", [600, -600])
async def test_a_signature_at_the_edge_of_its_time_is_good(
    world: World, method: str, path: str, age: int
) -> None:
    world.now = NOW + age

    assert (await ask(world, method, path, signed(method, path))).is_success


@every_route
async def test_another_apps_signature_is_refused(world: World, method: str, path: str) -> None:
    response = await ask(world, method, path, signed(method, path, OTHER))

    if path == ALIAS:
        assert response.status_code == 200
        assert world.users.users == [(OTHER.id, "ada")]
        return
    assert refusal(response) == (
        401,
        "auth_wrong_key",
        "auth_key 'other-key' is not this app's key",
    )
    assert world.untouched


@every_route
async def test_this_apps_key_under_another_apps_secret_is_refused(
    world: World, method: str, path: str
) -> None:
    mixed = App(id=APP.id, key=APP.key, secret=OTHER.secret)

    response = await ask(world, method, path, signed(method, path, mixed))

    assert refusal(response)[:2] == (401, "auth_mismatch")
    assert world.untouched


@every_route
async def test_a_key_that_nobody_has_is_refused(world: World, method: str, path: str) -> None:
    stranger = App(id=APP.id, key="guess", secret="guess")

    response = await ask(world, method, path, signed(method, path, stranger))

    assert refusal(response) == (
        401,
        "auth_wrong_key",
        "auth_key 'guess' is not this app's key",
    )
    assert world.untouched


@every_route
@pytest.mark.parametrize("name", ["auth_key", "auth_timestamp", "auth_version", "auth_signature"])
async def test_each_missing_parameter_is_named(
    world: World, method: str, path: str, name: str
) -> None:
    response = await ask(world, method, path, without(signed(method, path), name))

    status, code, message = refusal(response)
    assert (status, code) == (401, "auth_missing")
    assert message == f"query parameter {name} is missing"
    assert world.untouched


@every_route
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"auth_timestamp": "soon"}, "auth_timestamp 'soon' is not Unix seconds"),
        ({"auth_timestamp": "1\u0662"}, "is not Unix seconds"),
        ({"auth_timestamp": "-1"}, "is not Unix seconds"),
        ({"auth_timestamp": "1e9"}, "is not Unix seconds"),
        ({"auth_timestamp": "1" * 13}, "is not Unix seconds"),
        ({"auth_version": "2.0"}, "auth_version '2.0' is not 1.0"),
    ],
)
async def test_malformed_parameters_are_refused_however_well_signed(
    world: World, method: str, path: str, change: dict[str, str], words: str
) -> None:
    query = resigned({**signed(method, path), **change}, method, path)

    status, code, message = refusal(await ask(world, method, path, query))

    assert (status, code) == (401, "auth_malformed")
    assert words in message
    assert world.untouched


@every_route
async def test_a_parameter_that_was_not_signed_is_refused(
    world: World, method: str, path: str
) -> None:
    response = await ask(world, method, path, {**signed(method, path), "extra": "1"})

    assert refusal(response)[:2] == (401, "auth_mismatch")
    assert world.untouched


@every_route
@pytest.mark.parametrize("second", ["auth_key", "AUTH_KEY", "auth%5Fkey", "auth_signature"])
async def test_a_parameter_given_twice_is_refused(
    world: World, method: str, path: str, second: str
) -> None:
    """Which of the two is signed, and which is acted on?"""
    query = f"{urlencode(signed(method, path))}&{second}=other"

    response = await world.send(method, f"{path}?{query}", content=body_of(path))

    assert refusal(response)[:2] == (400, "duplicate_parameter")
    assert world.untouched


@every_route
async def test_names_may_be_written_in_capitals_and_are_signed_without(
    world: World, method: str, path: str
) -> None:
    query = {name.upper(): value for name, value in signed(method, path).items()}

    assert (await ask(world, method, path, query)).is_success


@every_route
async def test_names_that_were_signed_in_capitals_are_refused(
    world: World, method: str, path: str
) -> None:
    query = without(signed(method, path), "auth_signature")
    text = request_string(method, path, query).decode()
    shouted = text.replace("auth_timestamp", "AUTH_TIMESTAMP")
    query["auth_signature"] = hmac_hex(APP.secret, shouted.encode())

    response = await ask(world, method, path, query)

    assert refusal(response)[:2] == (401, "auth_mismatch")
    assert world.untouched


@every_route
async def test_the_query_may_be_encoded_in_any_way_that_decodes_to_what_was_signed(
    world: World, method: str, path: str
) -> None:
    query = "&".join(
        "=".join("".join(f"%{byte:02x}" for byte in word.encode()) for word in pair)
        for pair in signed(method, path).items()
    )

    response = await world.send(method, f"{path}?{query}", content=body_of(path))

    assert response.is_success


@every_route
async def test_an_md5_of_another_body_is_refused(world: World, method: str, path: str) -> None:
    query = resigned({**signed(method, path), "body_md5": "0" * 32}, method, path)

    status, code, message = refusal(await ask(world, method, path, query))

    assert (status, code) == (401, "body_mismatch")
    assert "does not match the body (its MD5 is " in message
    assert world.untouched


@every_route
async def test_a_body_without_md5_is_refused(world: World, method: str, path: str) -> None:
    query = resigned(without(signed(method, path), "body_md5"), method, path)

    response = await world.send(method, path, params=query, content=body_of(path) or b"{}")

    assert refusal(response) == (401, "auth_missing", "query parameter body_md5 is missing")
    assert world.untouched


@every_route
async def test_a_body_added_on_the_way_is_refused(world: World, method: str, path: str) -> None:
    """PyPI's `pusher` signs the md5 of the empty body, so nothing can be slipped under it."""
    query = resigned({**signed(method, path), "body_md5": EMPTY_MD5}, method, path)

    response = await world.send(method, path, params=query, content=b'{"name":"a"}')

    assert refusal(response)[:2] == (401, "body_mismatch")
    assert world.untouched


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path in ROUTES if not body_of(path)]
)
async def test_an_empty_body_may_be_signed_with_its_md5(
    world: World, method: str, path: str
) -> None:
    query = resigned({**signed(method, path), "body_md5": EMPTY_MD5}, method, path)

    assert (await ask(world, method, path, query)).is_success


@every_route
async def test_a_signature_of_another_method_is_refused(
    world: World, method: str, path: str
) -> None:
    query = resigned(signed(method, path), {"GET": "POST", "POST": "GET"}[method], path)

    response = await ask(world, method, path, query)

    assert refusal(response)[:2] == (401, "auth_mismatch")
    assert world.untouched


TRICKS: list[Callable[[str], str]] = [
    lambda path: path.replace("/", "//", 1),
    lambda path: path.replace("/", "/./", 1),
    lambda path: f"/x/..{path}",
    lambda path: f"{path}/",
    lambda path: f"{path}/..",
    lambda path: f"{path};a=b",
    lambda path: f"{path}%00",
    lambda path: f"{path}%2f",
    lambda path: path[:1] + path[1:].replace("/", "%2f", 1),
    lambda path: path[:1] + path[1:].replace("/", "%2F", 1),
    lambda path: path[:1] + path[1:].replace("/", "\\", 1),
    lambda path: path.replace("/apps", "/%61pps").replace("/users", "/%75sers"),
    lambda path: path.replace("/apps", "/APPS").replace("/users", "/USERS"),
    lambda path: path.replace("/1234", "/%31234"),
    lambda path: path.replace("/1234", "/1234;x"),
    lambda path: path.replace("/1234", "/1234%00"),
    lambda path: path.replace("/1234", "/5678/../1234"),
]


@every_route
@pytest.mark.parametrize("trick", TRICKS)
async def test_a_signature_holds_for_no_other_way_to_write_its_path(
    world: World, method: str, path: str, trick: Callable[[str], str]
) -> None:
    other = trick(path)
    if other == path:
        return  # this route has nothing to play with

    response = await world.raw(method, other, urlencode(signed(method, path)), body_of(path))

    assert response.status in (400, 401, 404)
    assert set(response.answer["error"]) == {"code", "message"}
    assert world.untouched


@every_route
async def test_a_disabled_app_is_told_so_once_it_has_proved_itself(method: str, path: str) -> None:
    disabled = replace(APP, enabled=False)
    forged = replace(disabled, secret="guess")
    world = World(apps=[disabled, OTHER])

    proved = await ask(world, method, path, signed(method, path, disabled))
    unproved = await ask(world, method, path, signed(method, path, forged))

    assert refusal(proved) == (403, "app_disabled", "app '1234' is disabled on this server")
    assert refusal(unproved)[:2] == (401, "auth_mismatch")
    assert world.untouched


async def test_nobody_is_turned_away_before_the_apps_are_known(world: World) -> None:
    world.apps.settled = False

    known = await world.call("GET", CHANNELS)
    unknown = await world.call("GET", "/apps/9999/channels")

    assert known.status_code == 200
    assert refusal(unknown)[:2] == (503, "driver_unavailable")
    assert unknown.headers["retry-after"]


async def test_an_unknown_app_id_looks_like_a_wrong_key_to_strangers(world: World) -> None:
    """Nobody can list the app ids of a server by asking."""
    stranger = App(id="9", key="guess", secret="guess")
    impostor = App(id="9", key=APP.key, secret="guess")

    for app in (stranger, impostor):
        known = await world.call("GET", "/apps/5678/channels", app=app)
        unknown = await world.call("GET", "/apps/9999/channels", app=app)
        assert refusal(unknown) == refusal(known)
        assert refusal(unknown)[:2] == (401, "auth_wrong_key")


@pytest.mark.parametrize("key", ["app-key", "guess"])
async def test_an_unknown_app_id_takes_the_steps_of_a_known_one(
    world: World, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock must not list app ids either."""
    steps: list[str] = []

    def counted(secret: str, text: bytes) -> str:
        steps.append("hmac")
        return hmac_hex(secret, text)

    monkeypatch.setattr("broadcaster.protocol.signing.hmac_hex", counted)
    taken = []
    for app_id in ("5678", "9999"):
        query = {**signed("GET", CHANNELS), "auth_key": key}
        steps.clear()
        await world.send("GET", f"/apps/{app_id}/channels", params=query)
        taken.append([*steps])

    assert taken == [["hmac"], ["hmac"]]


@pytest.mark.parametrize(
    "path", [path.replace(APP.id, "9999") for _, path in ROUTES if path != ALIAS]
)
async def test_an_unknown_app_id_is_told_to_the_owner_of_another_app(
    world: World, path: str
) -> None:
    found = parse_path(path)
    assert found is not None

    response = await world.call(found.resource.method, path, EVENT)

    assert refusal(response) == (
        404,
        "app_not_found",
        "there is no app '9999' on this server; auth_key belongs to app '1234'",
    )
    assert world.untouched


async def test_credentials_are_compared_as_bytes(world: World) -> None:
    """A digit of another script is no digit, and a signature of such is only wrong."""
    query = {**signed("GET", CHANNELS), "auth_signature": "\u0661" * 64}

    assert refusal(await ask(world, "GET", CHANNELS, query))[:2] == (401, "auth_mismatch")


async def test_a_body_changed_on_the_way_is_refused(world: World) -> None:
    query = signed("POST", EVENTS, body=b"{}")

    response = await ask(world, "POST", EVENTS, query)

    assert refusal(response)[:2] == (401, "body_mismatch")
