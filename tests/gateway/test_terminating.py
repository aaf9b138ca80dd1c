"""Sending a user away over HTTP, on both paths that libraries use."""

from __future__ import annotations

import pytest

from broadcaster.errors import DriverError
from broadcaster.protocol.http_query import Resource
from tests.gateway.http_world import APP, OTHER, PATHS, World, refusal

TERMINATE, ALIAS = PATHS[Resource.TERMINATE], PATHS[Resource.TERMINATE_ALIAS]
both = pytest.mark.parametrize("path", [TERMINATE, ALIAS])


@pytest.fixture
def world() -> World:
    return World()


@both
@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_user_is_sent_away(world: World, path: str, body: bytes) -> None:
    response = await world.call("POST", path, body)

    assert (response.status_code, response.content) == (200, b"{}")
    assert world.users.users == [("1234", "ada")]


async def test_the_alias_finds_the_app_by_its_key(world: World) -> None:
    await world.call("POST", ALIAS, app=OTHER)

    assert world.users.users == [(OTHER.id, "ada")]


@both
async def test_ids_are_decoded(world: World, path: str) -> None:
    await world.call("POST", path.replace("ada", "ada%40example.com"))

    assert world.users.users == [(APP.id, "ada@example.com")]


@both
@pytest.mark.parametrize("user", ["a%20b", "%23all", "%C3%A9", "a" * 129, "a%2Fb", "%00"])
async def test_what_is_no_user_id_is_refused(world: World, path: str, user: str) -> None:
    response = await world.call("POST", path.replace("ada", user))

    assert refusal(response)[:2] == (400, "invalid_user_id")
    assert world.untouched


@both
async def test_a_parameter_is_refused(world: World, path: str) -> None:
    response = await world.call("POST", path, params={"channel": "a"})

    assert refusal(response)[:2] == (400, "extraneous_parameter")
    assert world.untouched


@both
async def test_no_room_to_keep_it_is_told(world: World, path: str) -> None:
    world.users.failure = DriverError("too many", code="revocations_full")

    assert refusal(await world.call("POST", path))[:2] == (500, "revocations_full")
