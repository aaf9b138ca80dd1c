"""
Channel rules, and the decision they make: user + channel -> `Allowed` or `Denied`.

::

    @channel("orders.{user_id}")
    def orders(user: User, user_id: int) -> bool:
        return user.id == user_id

    @channel("chat.{room}")
    async def chat(user: User, room: str) -> dict[str, object]:
        return {"id": user.id, "name": user.name}

The name is matched without its prefix (``private-``, ``presence-``,
``private-encrypted-``), which is stripped once. Patterns are tried in the order of
registration; what a rule returns decides:

==============================  ====================================================
``None``                        not this rule's business: the next matching pattern
a false value                   denied, no further pattern is tried
a true value                    allowed
on presence channels a dict     its ``id`` is the member's id (the user's if absent),
                                its ``info``, or else the whole dict, their info
on presence channels ``True``   the user's own id
==============================  ====================================================

A rule may raise `broadcaster.errors.Denied` to say why. Any other exception is a bug or an
outage and is passed on.

Source: Laravel's ``Broadcast::channel`` for order, fall-through and prefixes.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from starlette.concurrency import run_in_threadpool

from broadcaster.errors import ConfigurationError, Denied
from broadcaster.protocol.channels import ChannelKind, ChannelName, check_socket_id, parse_channel
from broadcaster_auth.members import Member, member_of, user_id_of
from broadcaster_auth.patterns import Pattern, compile_pattern
from broadcaster_auth.rules import check_signature

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

Rule: TypeAlias = Callable[..., object]
RuleT = TypeVar("RuleT", bound=Rule)

_PREFIXES = ("private-encrypted-", "private-", "presence-")


@dataclass(frozen=True, slots=True)
class Allowed:
    """
    The user may enter.

    Attributes:
        channel: where.
        user_id: canonical text of who, if the user has an id.
        member: on presence channels, as whom.
    """

    channel: ChannelName
    user_id: str | None = None
    member: Member | None = None


Decision: TypeAlias = Allowed | Denied


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """
    One registered rule.

    Attributes:
        pattern: which channels it is about.
        call: takes the user and the pattern's parameters by name.
        guards: names of guards to ask for the user instead of the default one.
    """

    pattern: Pattern
    call: Rule
    guards: tuple[str, ...] = ()


class _Candidate(NamedTuple):
    rule: ChannelRule
    parameters: dict[str, object]


@dataclass(slots=True, eq=False)
class Authorizer:
    """
    A registry of channel rules.

    Attributes:
        user_id: returns a user's id (str or int) where `members.user_id_of` cannot guess it.
    """

    user_id: Callable[[object], str | int | None] = user_id_of
    _rules: list[ChannelRule] = field(default_factory=list[ChannelRule], repr=False)

    @property
    def rules(self) -> Sequence[ChannelRule]:
        """The rules in order of registration."""
        return tuple(self._rules)

    def channel(self, pattern: str, *, guards: Sequence[str] = ()) -> Callable[[RuleT], RuleT]:
        """Register the decorated function, sync or async; returns it unchanged."""

        def register(rule: RuleT) -> RuleT:
            self.add(pattern, rule, guards=guards)
            return rule

        return register

    def add(self, pattern: str, rule: Rule, *, guards: Sequence[str] = ()) -> None:
        """
        Register `rule`.

        Raises:
            ConfigurationError: a bad pattern, or a rule whose parameters are not a user
                and those of the pattern.
        """
        compiled = compile_pattern(pattern, check_signature(pattern, rule))
        self._rules.append(ChannelRule(compiled, rule, tuple(guards)))

    def guards_for(self, channel: str) -> tuple[str, ...]:
        """Return the guards that rules matching `channel` name, each once."""
        names = (name for found in self._candidates(channel) for name in found.rule.guards)
        return tuple(dict.fromkeys(names))

    def authorize(
        self,
        user: object | None,
        channel: str,
        *,
        socket_id: str,
        guarded: Mapping[str, object | None] | None = None,
    ) -> Decision:
        """
        Decide from code without an event loop; async rules run in a loop of their own.

        Args:
            user: who asks, or None for nobody.
            channel: full name, with prefix.
            socket_id: of the connection that wants to enter.
            guarded: users by guard, for rules that name guards (see `guards_for`).

        Returns:
            `Allowed`, or a `Denied` (returned, not raised) whose `code` and `message` say why.

        Raises:
            InvalidSocketId, InvalidChannel: before any rule is asked.
        """
        question = _Question.read(user, channel, socket_id, guarded)
        for found in self._candidates(channel):
            asker = question.asker(found.rule)
            if asker is None:
                continue
            try:
                result = found.rule.call(asker, **found.parameters)
                if inspect.isawaitable(result):
                    result = _run(result)
            except Denied as denied:
                return denied
            decision = self._decide(question.channel, found.rule, asker, result)
            if decision is not None:
                return decision
        return self._nobody_said_yes(question)

    async def aauthorize(
        self,
        user: object | None,
        channel: str,
        *,
        socket_id: str,
        guarded: Mapping[str, object | None] | None = None,
    ) -> Decision:
        """Decide from a coroutine; sync rules run in a thread. See `authorize`."""
        question = _Question.read(user, channel, socket_id, guarded)
        for found in self._candidates(channel):
            asker = question.asker(found.rule)
            if asker is None:
                continue
            try:
                if _is_async(found.rule.call):
                    result = found.rule.call(asker, **found.parameters)
                else:
                    result = await run_in_threadpool(found.rule.call, asker, **found.parameters)
                if inspect.isawaitable(result):
                    result = await result
            except Denied as denied:
                return denied
            decision = self._decide(question.channel, found.rule, asker, result)
            if decision is not None:
                return decision
        return self._nobody_said_yes(question)

    def _candidates(self, channel: str) -> Iterator[_Candidate]:
        name = strip_prefix(channel)
        for rule in self._rules:
            parameters = rule.pattern.match(name)
            if parameters is not None:
                yield _Candidate(rule, parameters)

    def _decide(
        self, channel: ChannelName, rule: ChannelRule, user: object, result: object
    ) -> Decision | None:
        if result is None:
            return None
        if not result:
            return Denied(
                f"the rule for {rule.pattern.text!r} said no to this user", code="rule_refused"
            )
        user_id = self.user_id(user)
        if channel.is_presence:
            member = member_of(result, user_id, pattern=rule.pattern.text)
            return Allowed(channel, str(member.user_id), member)
        return Allowed(channel, None if user_id is None else str(user_id))

    def _nobody_said_yes(self, question: _Question) -> Denied:
        channel = question.channel.name
        if not question.channel.needs_auth:
            instead = f": subscribe with echo.channel({channel!r}), or use 'private-{channel}'"
            hint = instead if question.channel.kind is ChannelKind.PUBLIC else ""
            return Denied(f"{channel!r} needs no authorization{hint}", code="not_private")
        found = [item.rule for item in self._candidates(channel)]
        if not found:
            return Denied(self._explain_no_match(channel), code="no_rule")
        if all(question.asker(rule) is None for rule in found):
            asked = ", ".join(dict.fromkeys(name for rule in found for name in rule.guards))
            return Denied(
                "nobody is logged in: "
                + (f"the guards {asked} found no user" if asked else "the request has no user"),
                code="unauthenticated",
            )
        return Denied(
            f"every rule that matches {strip_prefix(channel)!r} returned None", code="rule_refused"
        )

    def _explain_no_match(self, channel: str) -> str:
        name = strip_prefix(channel)
        for rule in self._rules:
            if rule.pattern.match(channel) is not None:
                return (
                    f"the pattern {rule.pattern.text!r} has the prefix in it; write it without: "
                    f"{strip_prefix(rule.pattern.text)!r}"
                )
        registered = ", ".join(repr(rule.pattern.text) for rule in self._rules) or "none"
        return f"no pattern matches {name!r}; registered are: {registered}"


def strip_prefix(channel: str) -> str:
    """Return the name without its first prefix: ``private-private-x`` gives ``private-x``."""
    for prefix in _PREFIXES:
        if channel.startswith(prefix):
            return channel[len(prefix) :]
    return channel


class _Question(NamedTuple):
    user: object | None
    channel: ChannelName
    guarded: Mapping[str, object | None]

    @classmethod
    def read(
        cls,
        user: object | None,
        channel: str,
        socket_id: str,
        guarded: Mapping[str, object | None] | None,
    ) -> _Question:
        check_socket_id(socket_id)
        return cls(user, parse_channel(channel), guarded or {})

    def asker(self, rule: ChannelRule) -> object | None:
        """Return the user for this rule: of its first guard that has one, else the default."""
        if self.channel.kind in (ChannelKind.PUBLIC, ChannelKind.USER):
            return None
        if not rule.guards:
            return self.user
        found = (self.guarded.get(name) for name in rule.guards)
        return next((user for user in found if user is not None), None)


def _is_async(rule: Rule) -> bool:
    while isinstance(rule, functools.partial):
        rule = rule.func
    return inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(
        getattr(rule, "__call__", None)  # noqa: B004 - the method, to see whether it is async
    )


def _run(result: Awaitable[object]) -> object:
    async def awaited() -> object:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(awaited())
    if inspect.iscoroutine(result):
        result.close()
    raise ConfigurationError(
        "an async channel rule was asked by authorize() inside an event loop; await aauthorize()"
    )


default_authorizer = Authorizer()
channel = default_authorizer.channel
