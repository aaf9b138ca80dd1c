"""
Lua scripts by name, run by hash, sent whole when the server does not know them.

A restarted server has forgotten every script: EVALSHA then answers NOSCRIPT and nothing
was done, so sending the source is always safe. A connection that broke while it was idle is
noticed before anything is sent, so that is safe, too (see `idle`). `repeat_lost` is another
matter: the connection broke under the call, and the script may or may not have run. It repeats
the call once on a fresh connection, however late it broke within the time of the call, and only
scripts whose effect is bound to an id may ask for it.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from broadcaster.drivers.redis.client import VERB_SECONDS, refusal, translated
from broadcaster.drivers.redis.idle import distrust

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis
    import redis.asyncio

    from broadcaster.errors import DriverRefused

Command: TypeAlias = tuple[Any, ...]
"""A Redis command: its name and its arguments."""


class Script(NamedTuple):
    """One Lua script; `sha` is what EVALSHA calls it by."""

    name: str
    source: str
    sha: str


class Call(NamedTuple):
    """One script with its keys and arguments."""

    script: Script
    keys: Sequence[str | bytes]
    args: Sequence[str | bytes | int | float]


@cache
def load_script(name: str) -> Script:
    """Return the script in ``scripts/<name>.lua`` of this package."""
    file = resources.files("broadcaster.drivers.redis").joinpath("scripts", f"{name}.lua")
    source = file.read_text(encoding="utf-8")
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def load_behind(name: str, start: str) -> Script:
    """Return ``scripts/<name>.lua`` behind what several scripts share, ``scripts/<start>.lua``."""
    source = load_script(start).source + load_script(name).source
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


async def arun(
    client: redis.asyncio.Redis,
    script: Script,
    keys: Sequence[str | bytes],
    args: Sequence[str | bytes | int | float],
    *,
    repeat_lost: bool = False,
) -> Any:
    """
    Run one script; return Redis's reply in the shape that the script's head documents.

    Raises `LeaseLost`, `DriverRefused` and `DriverUnavailable`, within 2 s.
    """
    replies = await arun_many(client, [Call(script, keys, args)], repeat_lost=repeat_lost)
    return replies[0]


def run(
    client: redis.Redis,
    script: Script,
    keys: Sequence[str | bytes],
    args: Sequence[str | bytes | int | float],
    *,
    repeat_lost: bool = False,
) -> Any:
    """See `arun`; for code without an event loop."""
    return run_many(client, [Call(script, keys, args)], repeat_lost=repeat_lost)[0]


async def arun_many(
    client: redis.asyncio.Redis,
    calls: Sequence[Call],
    *,
    repeat_lost: bool = False,
    ahead: Sequence[Command] = (),
    behind: Sequence[Command] = (),
    keep_refused: bool = False,
) -> list[Any]:
    """
    Run several scripts in one round trip; return their replies in order.

    Args:
        repeat_lost: send everything once more when the connection broke.
        ahead: plain commands to run before them, in the same round trip.
        behind: plain commands to run after them, on the same connection; their replies come
            behind those of the scripts.
        keep_refused: return a `DriverRefused` in its place instead of raising it.

    All of them are sent, whatever one of them answers; the first error reply is raised
    after the others have run. Two calls on the same keys may change places when the
    script had been forgotten: put what must stay in order into one call.
    """
    with translated(client):
        async with asyncio.timeout(VERB_SECONDS):
            try:
                replies = await _acall(client, calls, ahead, behind)
            except RedisConnectionError as error:
                if not _may_repeat(error, repeat_lost=repeat_lost):
                    raise
                distrust(client.connection_pool)  # what broke one has mostly broken all
                replies = await _acall(client, calls, ahead, behind)
        if keep_refused:
            replies = [_refused(reply, client) or reply for reply in replies]
        return _checked(replies)


async def aread(client: redis.asyncio.Redis, commands: Sequence[Command]) -> list[Any]:
    """
    Run plain commands in one round trip; return their replies in order.

    Repeated once when the connection broke: for reads, and for writes like EXPIRE that
    may happen twice.
    """
    with translated(client):
        async with asyncio.timeout(VERB_SECONDS):
            try:
                return _checked(await _asend(client, commands))
            except RedisConnectionError as error:
                if not _may_repeat(error, repeat_lost=True):
                    raise
                distrust(client.connection_pool)  # what broke one has mostly broken all
                return _checked(await _asend(client, commands))


def read(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """See `aread`; for code without an event loop."""
    with translated(client):
        try:
            return _checked(_send(client, commands))
        except RedisConnectionError as error:
            if not _may_repeat(error, repeat_lost=True):
                raise
            return _checked(_send(client, commands))


def run_many(
    client: redis.Redis,
    calls: Sequence[Call],
    *,
    repeat_lost: bool = False,
    ahead: Sequence[Command] = (),
    behind: Sequence[Command] = (),
) -> list[Any]:
    """See `arun_many`; for code without an event loop."""
    with translated(client):
        try:
            replies = _call(client, calls, ahead, behind)
        except RedisConnectionError as error:
            if not _may_repeat(error, repeat_lost=repeat_lost):
                raise
            replies = _call(client, calls, ahead, behind)
        return _checked(replies)


async def _acall(
    client: redis.asyncio.Redis,
    calls: Sequence[Call],
    ahead: Sequence[Command],
    behind: Sequence[Command],
) -> list[Any]:
    replies = _after(ahead, await _asend(client, [*ahead, *map(_evalsha, calls), *behind]))
    if unknown := _unknown(replies):
        again = await _asend(client, [*_resend(calls, unknown), *behind])
        replies = _merged(replies, [*unknown, *range(len(calls), len(replies))], again)
    return replies


def _call(
    client: redis.Redis,
    calls: Sequence[Call],
    ahead: Sequence[Command],
    behind: Sequence[Command],
) -> list[Any]:
    replies = _after(ahead, _send(client, [*ahead, *map(_evalsha, calls), *behind]))
    if unknown := _unknown(replies):
        again = _send(client, [*_resend(calls, unknown), *behind])
        replies = _merged(replies, [*unknown, *range(len(calls), len(replies))], again)
    return replies


def _after(ahead: Sequence[Command], replies: list[Any]) -> list[Any]:
    """Return the replies of the scripts; what went ahead must have worked."""
    _checked(replies[: len(ahead)])
    return replies[len(ahead) :]


def _evalsha(call: Call) -> Command:
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)


def _resend(calls: Sequence[Call], unknown: Sequence[int]) -> list[Command]:
    """Each script's source goes once; the calls after it find it loaded."""
    commands: list[Command] = []
    sent: set[str] = set()
    for call in (calls[index] for index in unknown):
        if call.script.sha in sent:
            commands.append(_evalsha(call))
        else:
            sent.add(call.script.sha)
            commands.append(("EVAL", call.script.source, len(call.keys), *call.keys, *call.args))
    return commands


def _unknown(replies: Sequence[Any]) -> list[int]:
    return [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def _merged(replies: Sequence[Any], unknown: Sequence[int], again: Sequence[Any]) -> list[Any]:
    merged = list(replies)
    for index, reply in zip(unknown, again, strict=True):
        merged[index] = reply
    return merged


def _checked(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, RedisError):
            raise reply
    return replies


def _refused(reply: Any, client: redis.asyncio.Redis) -> DriverRefused | None:
    return refusal(reply, client) if isinstance(reply, RedisError) else None


def _may_repeat(error: RedisConnectionError, *, repeat_lost: bool) -> bool:
    """Only after a broken connection: refused credentials do not get better."""
    return repeat_lost and type(error) is RedisConnectionError


async def _asend(client: redis.asyncio.Redis, commands: Sequence[Command]) -> list[Any]:
    if len(commands) == 1:
        try:
            return [await client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]  # not annotated by redis-py
        except ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # not annotated by redis-py
    return list(await pipeline.execute(raise_on_error=False))


def _send(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]  # type: ignore[no-untyped-call]  # not annotated by redis-py
        except NoScriptError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)  # type: ignore[no-untyped-call]  # not annotated by redis-py
    return list(pipeline.execute(raise_on_error=False))
