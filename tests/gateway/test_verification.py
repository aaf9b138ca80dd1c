"""The answer to a subscription: verified, not revoked, or held until keys have come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from broadcaster.contracts.apps import StaticApps
from broadcaster.errors import AuthorizationPending, Denied, InvalidSignature, InvalidToken
from broadcaster.gateway.verification import Verification
from broadcaster.protocol.subscription_auth import Verified
from tests.gateway.fakes import FakeNode, FakeTransport
from tests.gateway.world import APP

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.gateway.connection import Connection


class Answers:
    """A verifier, revocations and public keys that say what the test wants."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.revoked = False
        self.held_since: list[float | None] = []
        self.read: Callable[[], None] = lambda: None

    def verify_subscription(self, *_: object, held_since: float | None, **__: object) -> Verified:
        self.held_since.append(held_since)
        if self.failure is not None:
            raise self.failure
        return Verified(user_id="ada")

    def explain_refusal(self, *_: object, **__: object) -> str:
        return "the likely cause"

    def check(self, *_: object) -> None:
        if self.revoked:
            raise Denied("revoked", code="auth_revoked")

    def on_read(self, callback: Callable[[], None]) -> None:
        self.read = callback


class World:
    def __init__(self, *, debug: bool = False) -> None:
        self.answers = Answers()
        it: Any = self.answers
        self.verification = Verification(it, StaticApps(APP), it, it, debug=debug)
        self.connection = cast("Connection", FakeNode().connection(FakeTransport()))

    def verify(self, held_since: float | None = None) -> Verified:
        return self.verification.verify(self.connection, "auth", "private-a", None, held_since)


def test_what_is_proved_and_not_revoked_is_good() -> None:
    assert World().verify() == Verified(user_id="ada")


def test_what_is_revoked_is_refused_although_it_is_proved() -> None:
    world = World()
    world.answers.revoked = True

    with pytest.raises(Denied) as caught:
        world.verify()

    assert caught.value.code == "auth_revoked"


def test_the_cause_is_told_to_clients_in_development_only() -> None:
    for debug, said in ((False, "wrong"), (True, "wrong. the likely cause")):
        world = World(debug=debug)
        world.answers.failure = InvalidToken("wrong", code="token_expired")

        with pytest.raises((InvalidSignature, InvalidToken)) as caught:
            world.verify()

        assert (str(caught.value), caught.value.code) == (said, "token_expired")
        notes = getattr(caught.value, "__notes__", [])
        assert notes == ([] if debug else ["the likely cause"])


def test_a_flood_of_refusals_is_not_explained_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcaster.gateway.verification.EXPLANATIONS_AT_ONCE", 3)
    monkeypatch.setattr("broadcaster.gateway.verification.EXPLANATIONS_A_SECOND", 0)
    world = World(debug=True)
    said = []
    for _ in range(5):
        world.answers.failure = InvalidToken("wrong", code="token_expired")
        with pytest.raises((InvalidSignature, InvalidToken)) as caught:
            world.verify()
        said.append(str(caught.value))

    assert said == ["wrong. the likely cause"] * 3 + ["wrong"] * 2


def test_what_cannot_be_decided_is_no_refusal() -> None:
    world = World(debug=True)
    world.answers.failure = AuthorizationPending("no keys", since=7.0)

    with pytest.raises(AuthorizationPending):
        world.verify()
    with pytest.raises(AuthorizationPending):
        world.verify(7.0)

    assert world.answers.held_since == [None, 7.0]


def test_who_is_held_is_asked_again_once_for_each_document(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    acted: list[object] = []
    monkeypatch.setattr(type(world.connection), "act", lambda _, effects: acted.append(effects))

    world.verification.hold(world.connection)
    world.answers.read()
    world.answers.read()

    assert acted == [[]]


def test_who_is_gone_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    acted: list[object] = []
    monkeypatch.setattr(type(world.connection), "act", lambda _, effects: acted.append(effects))

    world.verification.hold(world.connection)
    world.verification.forget(world.connection)
    world.answers.read()

    assert acted == []
