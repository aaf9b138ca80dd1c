from __future__ import annotations

import asyncio
import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from broadcaster_auth.authorizer import (
    Allowed,
    Authorizer,
    channel,
    default_authorizer,
    strip_prefix,
)
from broadcaster_auth.members import Member

from broadcaster.errors import (
    ConfigurationError,
    Denied,
    InvalidChannel,
    InvalidSocketId,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET = "1234.5678"


@dataclass
class User:
    id: int
    name: str = "Ada"


ADA = User(1)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> object:
    """Both edges around the one decision."""

    def from_anywhere(rules: Authorizer, user: object, name: str, **options: object) -> object:
        if request.param == "sync":
            return rules.authorize(user, name, socket_id=SOCKET, **options)  # type: ignore[arg-type]  # passed through
        return asyncio.run(rules.aauthorize(user, name, socket_id=SOCKET, **options))  # type: ignore[arg-type]  # passed through

    return from_anywhere


def rules_of(**rules: object) -> Authorizer:
    made = Authorizer()
    for pattern, rule in rules.items():
        made.add(pattern, rule if callable(rule) else lambda user, _said=rule: _said)
    return made


def denied(decision: object) -> str:
    assert isinstance(decision, Denied)
    return decision.code


def test_the_owner_may_listen_and_others_may_not(ask) -> None:  # type: ignore[no-untyped-def]  # a callable fixture
    rules = Authorizer()

    @rules.channel("orders.{user_id}")
    def orders(user: User, user_id: int) -> bool:
        return user.id == user_id

    allowed = ask(rules, ADA, "private-orders.1")

    assert isinstance(allowed, Allowed)
    assert (allowed.user_id, allowed.member) == ("1", None)
    assert denied(ask(rules, ADA, "private-orders.2")) == "rule_refused"
    assert denied(ask(rules, ADA, "private-orders.x")) == "no_rule"


def test_a_presence_rule_makes_a_member(ask) -> None:  # type: ignore[no-untyped-def]
    rules = Authorizer()

    @rules.channel("chat.{room}")
    async def chat(user: User, room: str) -> dict[str, object]:
        await asyncio.sleep(0)
        return {"id": user.id, "name": user.name, "room": room}

    allowed = ask(rules, ADA, "presence-chat.x")

    assert allowed.member == Member(1, {"id": 1, "name": "Ada", "room": "x"})
    assert allowed.user_id == "1"
    assert ask(rules, ADA, "private-chat.x").member is None


def test_true_on_a_presence_channel_means_the_user(ask) -> None:  # type: ignore[no-untyped-def]
    assert ask(rules_of(room=True), ADA, "presence-room").member == Member(1, {"id": 1})


def test_none_falls_through_to_the_next_pattern_and_false_does_not(ask) -> None:  # type: ignore[no-untyped-def]
    seen: list[str] = []
    rules = Authorizer()

    def answering(name: str, answer: object) -> Callable[..., object]:
        def rule(user: User) -> object:
            seen.append(name)
            return answer

        return rule

    rules.add("a.b", answering("first", None))
    rules.add("a.b", answering("second", False))
    rules.add("a.b", answering("third", True))

    decision = ask(rules, ADA, "private-a.b")

    assert denied(decision) == "rule_refused"
    assert seen == ["first", "second"]


def test_all_none_is_a_refusal(ask) -> None:  # type: ignore[no-untyped-def]
    decision = ask(rules_of(a=lambda user: None), ADA, "private-a")

    assert denied(decision) == "rule_refused"
    assert "returned None" in decision.message


@pytest.mark.parametrize("nothing", [False, 0, "", {}, []])
def test_whatever_is_false_denies(ask, nothing: object) -> None:  # type: ignore[no-untyped-def]
    assert denied(ask(rules_of(a=nothing), ADA, "private-a")) == "rule_refused"


def test_nobody_is_never_asked_about(ask) -> None:  # type: ignore[no-untyped-def]
    def rule(user: object) -> bool:
        raise AssertionError("a rule must not see nobody")

    decision = ask(rules_of(a=rule), None, "private-a")

    assert denied(decision) == "unauthenticated"


def test_a_public_name_is_told_what_to_do_instead() -> None:
    decision = rules_of(a=True).authorize(ADA, "orders.1", socket_id="1.1")

    assert isinstance(decision, Denied)
    assert decision.message == (
        "'orders.1' needs no authorization: subscribe with echo.channel('orders.1'), "
        "or use 'private-orders.1'"
    )


def test_a_public_name_is_no_matter_of_authorization(ask) -> None:  # type: ignore[no-untyped-def]
    assert denied(ask(rules_of(a=True), ADA, "a")) == "not_private"
    assert denied(ask(rules_of(a=True), ADA, "#server-to-user-1")) == "not_private"
    assert denied(ask(rules_of(a=True), ADA, "privateer")) == "not_private"


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("private-test", "test"),
        ("presence-test", "test"),
        ("private-encrypted-test", "test"),
        ("private-private-test", "private-test"),
        ("private-presence-test", "presence-test"),
        ("presence-private-encrypted-x", "private-encrypted-x"),
        ("private-cache-x", "cache-x"),
        ("test", "test"),
        ("privateer", "privateer"),
    ],
)
def test_one_prefix_is_stripped_once(name: str, base: str) -> None:
    assert strip_prefix(name) == base


def test_a_refusal_says_what_was_registered() -> None:
    rules = rules_of(a=True, b=True)

    decision = rules.authorize(ADA, "private-c", socket_id=SOCKET)

    assert isinstance(decision, Denied)
    assert decision.message == "no pattern matches 'c'; registered are: 'a', 'b'"


def test_a_pattern_with_its_prefix_written_in_is_pointed_out() -> None:
    rules = Authorizer()
    rules.add("private-orders.{x}", lambda user, x: True)

    decision = rules.authorize(ADA, "private-orders.1", socket_id=SOCKET)

    assert isinstance(decision, Denied)
    assert "write it without: 'orders.{x}'" in decision.message


def test_a_rule_may_say_why(ask) -> None:  # type: ignore[no-untyped-def]
    def rule(user: User) -> bool:
        raise Denied("the trial is over", code="trial_over")

    decision = ask(rules_of(a=rule), ADA, "private-a")

    assert (decision.code, decision.message) == ("trial_over", "the trial is over")


def test_a_rule_that_breaks_is_not_a_refusal(ask) -> None:  # type: ignore[no-untyped-def]
    def rule(user: User) -> bool:
        raise RuntimeError("database down")

    with pytest.raises(RuntimeError, match="database down"):
        ask(rules_of(a=rule), ADA, "private-a")


def test_a_forgotten_await_does_not_let_anybody_in(ask) -> None:  # type: ignore[no-untyped-def]
    """A coroutine is true; its result is what counts."""

    async def no(user: User) -> bool:
        return False

    def forgot(user: User) -> object:
        return no(user)

    assert denied(ask(rules_of(a=forgot), ADA, "private-a")) == "rule_refused"
    assert denied(ask(rules_of(a=functools.partial(no)), ADA, "private-a")) == "rule_refused"


def test_rules_that_name_guards_are_asked_about_their_users_only(ask) -> None:  # type: ignore[no-untyped-def]
    rules = Authorizer()
    rules.add("admin", lambda user: user.name == "Root", guards=["staff", "root"])
    root = User(9, "Root")

    assert rules.guards_for("private-admin") == ("staff", "root")
    assert denied(ask(rules, root, "private-admin")) == "unauthenticated"
    assert isinstance(
        ask(rules, None, "private-admin", guarded={"staff": None, "root": root}), Allowed
    )
    decision = ask(rules, None, "private-admin", guarded={"staff": ADA, "root": root})
    assert denied(decision) == "rule_refused"  # the first guard with a user decides


async def test_a_sync_rule_does_not_block_the_event_loop() -> None:
    threads: list[int] = []

    def rule(user: User) -> bool:
        threads.append(threading.get_ident())
        return True

    rules = rules_of(a=rule)

    await rules.aauthorize(ADA, "private-a", socket_id=SOCKET)

    assert threads != [threading.get_ident()]


async def test_an_async_rule_under_the_sync_verb_inside_a_loop_says_what_to_do() -> None:
    async def rule(user: User) -> bool:
        return True

    with pytest.raises(ConfigurationError, match="await aauthorize"):
        rules_of(a=rule).authorize(ADA, "private-a", socket_id=SOCKET)


def test_names_and_socket_ids_are_checked_before_any_rule(ask) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidChannel):
        ask(rules_of(a=True), ADA, "private-a:b")
    with pytest.raises(InvalidSocketId):
        rules_of(a=True).authorize(ADA, "private-a", socket_id="1.2:private-b")


def test_the_id_of_unusual_users_can_be_told() -> None:
    rules = Authorizer(user_id=lambda user: str(user).upper())
    rules.add("a", lambda user: True)

    allowed = rules.authorize("ada", "presence-a", socket_id=SOCKET)

    assert isinstance(allowed, Allowed)
    assert allowed.member == Member("ADA", {"id": "ADA"})


def test_a_brace_without_its_partner_is_named_before_the_parameters() -> None:
    def rule(user: object, user_id: int) -> bool:
        return user == user_id

    with pytest.raises(ConfigurationError, match="brace without its partner"):
        Authorizer().add("orders.{user_id", rule)


def test_the_plain_decorator_registers_in_the_default_registry() -> None:
    before = len(default_authorizer.rules)

    @channel("test-of-the-default-registry.{x}")
    def rule(user: object, x: str) -> bool:
        return True

    assert rule(ADA, x="1")
    added = default_authorizer.rules[before:]
    default_authorizer._rules.pop()
    assert [item.pattern.text for item in added] == ["test-of-the-default-registry.{x}"]
