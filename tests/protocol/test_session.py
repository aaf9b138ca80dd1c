"""The protocol state of one connection, transition by transition."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.errors import AuthorizationPending, InvalidSignature, InvalidToken
from broadcaster.protocol.app import App, AppLimits
from broadcaster.protocol.close_codes import UNAUTHORIZED
from broadcaster.protocol.messages import (
    PONG,
    ClientEvent,
    encode_presence_succeeded,
    encode_succeeded,
)
from broadcaster.protocol.session import (
    MAX_HELD,
    Close,
    Denied,
    Effect,
    Hold,
    Join,
    Leave,
    Relay,
    Reply,
    Session,
    SignIn,
    SignOut,
)
from broadcaster.protocol.signing import sign_channel, sign_user
from broadcaster.protocol.subscription import NEVER, SHORTEST_STAY
from broadcaster.protocol.subscription_auth import Verified, verify_signed

APP = App(id="1", key="app-key", secret="s" * 32)
SOCKET = "123.456"
NOW = 1_700_000_000.0


def session_of(app: App = APP, *, proved: Verified | None = None) -> Session:
    """A session that verifies signatures, or believes `proved`."""

    def verify(
        auth: str, channel: str, channel_data: str | None, held_since: float | None
    ) -> Verified:
        if proved is not None:
            return proved
        return verify_signed(
            app,
            auth=auth,
            socket_id=SOCKET,
            channel=channel,
            channel_data=channel_data,
            now=NOW,
        )

    return Session(app, SOCKET, verify)


def limited(**limits: Any) -> App:
    return replace(APP, limits=replace(AppLimits(), **limits))


def frame(event: str, data: object = None, **fields: object) -> bytes:
    return json.dumps({"event": event, "data": data, **fields}).encode()


def subscribe(channel: str, channel_data: str | None = None, auth: str | None = None) -> bytes:
    if auth is None and channel.startswith(("private-", "presence-")):
        auth = sign_channel(
            APP.key, APP.secret, socket_id=SOCKET, channel=channel, channel_data=channel_data
        )
    data = {"channel": channel, "auth": auth or ""}
    if channel_data is not None:
        data["channel_data"] = channel_data
    return frame("pusher:subscribe", data)


def unsubscribe(channel: str) -> bytes:
    return frame("pusher:unsubscribe", {"channel": channel})


def sign_in(user_data: str, auth: str | None = None) -> bytes:
    auth = auth or sign_user(APP.key, APP.secret, socket_id=SOCKET, user_data=user_data)
    return frame("pusher:signin", {"auth": auth, "user_data": user_data})


def take(session: Session, text: bytes, now: float = 0.0) -> list[Effect]:
    return session.received(text, now)


def join_of(effects: list[Effect]) -> Join:
    [effect] = effects
    assert isinstance(effect, Join)
    return effect


def reply_of(effects: list[Effect]) -> dict[str, Any]:
    """The first effect as decoded frame; it must be a reply."""
    assert isinstance(effects[0], Reply)
    decoded: dict[str, Any] = json.loads(effects[0].frame)
    return decoded


def enter(session: Session, channel: str, channel_data: str | None = None) -> Join:
    """Subscribe and let the join succeed."""
    join = join_of(take(session, subscribe(channel, channel_data)))
    success = (
        encode_succeeded(channel)
        if join.member is None
        else encode_presence_succeeded(channel, {join.member.user_id: join.member.data})
    )
    assert session.joined(channel, join.generation, success) == [Reply(success)]
    return join


# -- opening --------------------------------------------------------------------------


def test_the_first_frame_tells_socket_id_and_activity_timeout() -> None:
    opened = json.loads(session_of().opened())

    assert opened["event"] == "pusher:connection_established"
    assert json.loads(opened["data"]) == {"socket_id": SOCKET, "activity_timeout": 120}


# -- subscribing ----------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["orders", "cache-orders", "privateer"])
def test_a_public_channel_needs_no_auth(channel: str) -> None:
    join = join_of(take(session_of(), subscribe(channel)))

    assert (join.channel.name, join.member) == (channel, None)


@pytest.mark.parametrize("channel", ["private-a", "private-cache-a", "private-encrypted-a"])
def test_a_signed_subscription_joins(channel: str) -> None:
    session = session_of()

    join = join_of(take(session, subscribe(channel)))

    assert join.channel.name == channel
    assert not session.subscriptions[channel].active


def test_success_is_written_when_the_join_is_true_and_not_before() -> None:
    session = session_of()
    join = join_of(take(session, subscribe("orders")))

    effects = session.joined("orders", join.generation, b"success")

    assert effects == [Reply(b"success")]
    assert session.subscriptions["orders"].active


def test_a_join_is_reported_once() -> None:
    session = session_of()
    join = enter(session, "orders")

    assert session.joined("orders", join.generation, b"again") == []


@pytest.mark.parametrize("active", [False, True])
def test_a_second_subscription_to_a_channel_is_an_error_and_changes_nothing(
    *, active: bool
) -> None:
    session = session_of()
    join = enter(session, "orders") if active else join_of(take(session, subscribe("orders")))

    effects = take(session, subscribe("orders"))

    assert reply_of(effects) == {
        "event": "pusher:error",
        "data": {"code": None, "message": "Existing subscription to channel 'orders'"},
    }
    assert len(effects) == 1
    assert session.is_current("orders", join.generation)


def test_an_answer_after_unsubscribing_is_thrown_away() -> None:
    session = session_of()
    join = join_of(take(session, subscribe("orders")))

    assert take(session, frame("pusher:unsubscribe", {"channel": "orders"})) == [Leave("orders")]
    assert session.joined("orders", join.generation, b"success") == []
    assert session.refused("orders", join.generation, error="full", status=4100) == []


def test_an_answer_to_an_older_subscription_is_not_taken_for_the_newer() -> None:
    session = session_of()
    old = join_of(take(session, subscribe("orders")))
    take(session, frame("pusher:unsubscribe", {"channel": "orders"}))
    new = join_of(take(session, subscribe("orders")))

    assert new.generation > old.generation
    assert session.joined("orders", old.generation, b"old") == []
    assert session.refused("orders", old.generation, error="full", status=4100) == []
    assert not session.is_current("orders", old.generation)
    assert session.is_current("orders", new.generation)
    assert session.joined("orders", new.generation, b"new") == [Reply(b"new")]


def test_a_refused_join_frees_the_channel() -> None:
    session = session_of()
    join = join_of(take(session, subscribe("presence-a", '{"user_id":"1"}')))

    effects = session.refused("presence-a", join.generation, error="full", status=4100)

    assert reply_of(effects) == {
        "event": "pusher:subscription_error",
        "channel": "presence-a",
        "data": {"type": "LimitReached", "error": "full", "status": 4100, "code": "limit_reached"},
    }
    assert effects[1:] == [Denied("presence-a", "limit_reached", "full")]
    assert session.subscriptions == {}


@pytest.mark.parametrize(
    ("channel", "cause"),
    [
        ("", "channel name is empty"),
        ("a b", "contains ' '"),
        ("a" * 201, "201 characters"),
        ("a\n", "contains"),
        ("private-a:b", "contains ':'"),
        ("٤", "contains"),
        ("#all", "reserved"),
        ("#server-to-user-a b", "id of a user"),
    ],
)
def test_a_bad_channel_name_is_refused_on_its_channel(channel: str, cause: str) -> None:
    session = session_of()

    effects = take(session, subscribe(channel, auth=""))

    answer = reply_of(effects)
    assert answer["channel"] == channel
    assert (answer["data"]["type"], answer["data"]["status"]) == ("InvalidChannel", 4009)
    assert cause in answer["data"]["error"]
    assert isinstance(effects[1], Denied)
    assert session.subscriptions == {}


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ("", "auth_missing"),
        ("nonsense", "auth_malformed"),
        ("other:" + "0" * 64, "auth_wrong_key"),
        ("app-key:" + "0" * 64, "auth_mismatch"),
        ("app-key:" + "A" * 64, "auth_malformed"),
    ],
)
def test_a_bad_auth_is_refused_with_its_cause(auth: str, code: str) -> None:
    session = session_of()

    effects = take(session, subscribe("private-a", auth=auth))

    answer = reply_of(effects)
    assert answer["event"] == "pusher:subscription_error"
    assert (answer["data"]["type"], answer["data"]["status"]) == ("AuthError", 401)
    assert isinstance(effects[1], Denied)
    assert effects[1].code == code
    assert session.subscriptions == {}


def test_a_signature_for_one_channel_opens_no_other() -> None:
    session = session_of()
    auth = sign_channel(APP.key, APP.secret, socket_id=SOCKET, channel="private-a")

    assert isinstance(take(session, subscribe("private-b", auth=auth))[0], Reply)
    assert isinstance(take(session, subscribe("presence-a", auth=auth))[0], Reply)
    assert session.subscriptions == {}


def test_subscriptions_are_bounded_and_leaving_one_makes_room() -> None:
    session = session_of(limited(max_channels=2))
    take(session, subscribe("a"))
    take(session, subscribe("b"))

    effects = take(session, subscribe("c"))
    take(session, frame("pusher:unsubscribe", {"channel": "a"}))

    assert reply_of(effects)["data"] == {
        "type": "LimitReached",
        "error": "A connection has at most 2 channels",
        "status": 4100,
        "code": "limit_reached",
    }
    assert join_of(take(session, subscribe("c"))).channel.name == "c"


# -- presence -------------------------------------------------------------------------


@pytest.mark.parametrize(("user_id", "key"), [("7", '"7"'), (7, "7")])
def test_a_member_keeps_the_type_of_their_id_under_one_key(user_id: object, key: str) -> None:
    data = json.dumps({"user_id": user_id, "user_info": {"name": "Ada"}})

    join = join_of(take(session_of(), subscribe("presence-a", data)))

    assert join.member is not None
    assert join.member.user_id == "7"
    assert join.member.data == f'{{"user_id":{key},"user_info":{{"name": "Ada"}}}}'


@pytest.mark.parametrize(
    ("channel_data", "code"),
    [
        (None, "member_missing"),
        ("{", "malformed_message"),
        ("[]", "malformed_message"),
        ("{}", "malformed_message"),
        ('{"user_id":null}', "malformed_message"),
        ('{"user_id":1.5}', "malformed_message"),
        ('{"user_id":true}', "malformed_message"),
        ('{"user_id":""}', "malformed_message"),
        (json.dumps({"user_id": "u" * 129}), "malformed_message"),
        (json.dumps({"user_id": "a\nb"}), "malformed_message"),
        (json.dumps({"user_id": "1", "user_info": "i" * 1_023}), "member_invalid"),
    ],
)
def test_a_presence_channel_needs_a_member_within_its_bounds(
    channel_data: str | None, code: str
) -> None:
    session = session_of()

    effects = take(session, subscribe("presence-a", channel_data))

    assert reply_of(effects)["data"]["type"] == "AuthError"
    assert isinstance(effects[1], Denied)
    assert effects[1].code == code
    assert session.subscriptions == {}


def test_user_info_of_exactly_the_limit_is_taken() -> None:
    data = json.dumps({"user_id": "1", "user_info": "i" * 1_022})

    assert join_of(take(session_of(), subscribe("presence-a", data))).member is not None


@pytest.mark.parametrize(
    ("proved", "code"),
    [
        (Verified(), "member_missing"),
        (Verified(member_data="{}"), "member_missing"),
        (Verified(member_data="{}", user_id=""), "member_invalid"),
        (Verified(member_data="{}", user_id="u" * 129), "member_invalid"),
    ],
)
def test_a_verifier_that_proves_no_member_lets_nobody_in(proved: Verified, code: str) -> None:
    effects = take(session_of(proved=proved), subscribe("presence-a"))

    assert isinstance(effects[1], Denied)
    assert effects[1].code == code


# -- unsubscribing --------------------------------------------------------------------


def test_unsubscribing_leaves_at_once_and_without_an_answer() -> None:
    session = session_of()
    enter(session, "orders")

    assert take(session, frame("pusher:unsubscribe", {"channel": "orders"})) == [Leave("orders")]
    assert session.subscriptions == {}


def test_unsubscribing_from_nothing_is_an_error_without_a_code() -> None:
    effects = take(session_of(), frame("pusher:unsubscribe", {"channel": "orders"}))

    assert reply_of(effects) == {
        "event": "pusher:error",
        "data": {"code": None, "message": "No current subscription to channel 'orders'"},
    }


# -- expiry ---------------------------------------------------------------------------


def test_a_subscription_ends_with_its_grant() -> None:
    session = session_of(proved=Verified(user_id="ada", expires_at=NOW + 10))
    enter(session, "private-a")
    take(session, subscribe("orders"))

    assert session.expire(NOW + 9.9, 0.5) == []
    effects = session.expire(NOW + 10, 0.5)

    assert reply_of(effects) == {
        "event": "pusher:subscription_error",
        "channel": "private-a",
        "data": {
            "type": "AuthError",
            "error": "The grant for this channel has expired",
            "status": 401,
            "code": "auth_expired",
        },
    }
    assert effects[2] == Leave("private-a")
    assert list(session.subscriptions) == ["orders"]
    assert session.expire(NOW + 11, 0.5) == []


def test_a_pending_subscription_expires_too_and_its_answer_is_stale() -> None:
    session = session_of(proved=Verified(expires_at=NOW))
    join = join_of(take(session, subscribe("private-a")))

    assert session.expire(NOW, 0.5)[2] == Leave("private-a")
    assert session.joined("private-a", join.generation, b"late") == []


def test_a_connection_is_to_be_renewed_before_its_first_grant_ends() -> None:
    session = session_of(proved=Verified(expires_at=NOW + 100))
    assert (session.due_at, session.renew_at) == (NEVER, NEVER)
    enter(session, "private-a")
    assert session.due_at < NOW

    assert session.expire(NOW, 0.5) == []

    assert (session.due_at, session.renew_at) == (NOW + 94.5, NOW + 94.5)


def test_a_channel_that_was_left_needs_no_renewal() -> None:
    session = session_of(proved=Verified(expires_at=NOW + 100))
    enter(session, "private-a")
    session.expire(NOW, 0.5)
    take(session, frame("pusher:unsubscribe", {"channel": "private-a"}))

    session.expire(NOW + 95, 0.5)

    assert session.renew_at == NEVER


def test_a_client_that_hears_nothing_any_more_is_still_to_come_back() -> None:
    session = session_of(proved=Verified(expires_at=NOW + 2))
    enter(session, "private-a")
    session.expire(NOW, 0.5)

    assert len(session.expire(NOW + 2, 0.5)) == 3

    assert session.renew_at == NOW + SHORTEST_STAY
    assert session.due_at == session.renew_at


# -- revocation -----------------------------------------------------------------------


def test_revoked_subscriptions_end_and_others_stay() -> None:
    session = session_of(proved=Verified(user_id="ada", issued_at=NOW))
    enter(session, "private-a")
    enter(session, "private-b")
    take(session, subscribe("orders"))
    asked = []

    def is_revoked(*about: object) -> bool:
        asked.append(about)
        return about[1] == "private-a"

    effects = session.revoke(is_revoked)

    assert reply_of(effects)["data"] == {
        "type": "AuthError",
        "error": "The authorization for this channel was revoked",
        "status": 401,
        "code": "auth_revoked",
    }
    assert effects[2] == Leave("private-a")
    assert list(session.subscriptions) == ["private-b", "orders"]
    assert asked == [("ada", "private-a", NOW), ("ada", "private-b", NOW)]


# -- what cannot be decided yet -------------------------------------------------------


class Undecided:
    """A verifier that cannot decide before `keys` is set."""

    def __init__(self) -> None:
        self.keys = False
        self.asked: list[float | None] = []

    def __call__(
        self, auth: str, channel: str, channel_data: str | None, held_since: float | None
    ) -> Verified:
        self.asked.append(held_since)
        if not self.keys:
            raise AuthorizationPending(
                "no keys yet", since=NOW if held_since is None else held_since
            )
        if auth == "bad":
            raise InvalidToken("unknown key", code="token_unknown_key")
        return Verified(user_id="ada")


def test_what_cannot_be_decided_is_held_and_decided_later() -> None:
    verify = Undecided()
    session = Session(APP, SOCKET, verify)

    assert take(session, subscribe("private-a")) == [Hold("private-a")]
    assert take(session, subscribe("private-b", auth="bad")) == [Hold("private-b")]
    assert session.subscriptions == {}
    assert session.is_authorized  # as long as it is not known to be otherwise
    assert session.retry() == [Hold("private-a"), Hold("private-b")]
    verify.keys = True
    join, refusal, denied = session.retry()

    assert isinstance(join, Join)
    assert reply_of([refusal])["data"]["code"] == "token_unknown_key"
    assert denied == Denied("private-b", "token_unknown_key", "unknown key")
    assert verify.asked == [None, None, NOW, NOW, NOW, NOW]
    assert session.retry() == []


def test_a_held_subscription_can_be_given_up_and_not_doubled() -> None:
    session = Session(APP, SOCKET, Undecided())
    take(session, subscribe("private-a"))

    again = take(session, subscribe("private-a"))
    left = take(session, frame("pusher:unsubscribe", {"channel": "private-a"}))

    assert reply_of(again)["data"]["message"] == "Existing subscription to channel 'private-a'"
    assert left == []
    assert session.retry() == []


def test_what_is_held_is_bounded() -> None:
    session = Session(APP, SOCKET, Undecided())
    for number in range(MAX_HELD):
        take(session, subscribe(f"private-{number}"))

    effects = take(session, subscribe("private-more"))

    assert reply_of(effects)["data"]["code"] == "limit_reached"


def test_ending_what_is_not_there_does_nothing() -> None:
    assert session_of().end("private-a", "revoked", "gone") == []


# -- signing in -----------------------------------------------------------------------


def sign_in_of(effects: list[Effect]) -> SignIn:
    """The only effect, which must be a sign-in."""
    (effect,) = effects
    assert isinstance(effect, SignIn)
    return effect


def signed_in(user_data: str = '{"id":"ada"}', at: float = NOW, app: App = APP) -> Session:
    session = session_of(app)
    take(session, sign_in(user_data))
    session.signed_in_at = at
    return session


def test_signing_in_is_to_be_answered_with_the_same_text() -> None:
    session = session_of()
    user_data = '{"id":"ada", "name":"Ada"}'

    answer = json.loads(sign_in_of(take(session, sign_in(user_data))).frame)

    assert answer["event"] == "pusher:signin_success"
    assert json.loads(answer["data"]) == {"user_data": user_data}
    assert session.user is not None
    assert (session.user.id, session.signed_in_at) == ("ada", None)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (frame("pusher:signin", {}), "auth is missing"),
        (frame("pusher:signin", {"auth": "x", "user_data": "{}"}), "64 lower-case hex digits"),
        (sign_in('{"id":"a"}', "app-key:" + "0" * 64), "Invalid signature"),
        (sign_in("["), "user_data is not JSON"),
        (sign_in("[]"), "non-empty string 'id'"),
        (sign_in('{"id":7}'), "non-empty string 'id'"),
        (sign_in('{"id":""}'), "non-empty string 'id'"),
        (sign_in('{"id":"a b"}'), "characters that channel names cannot carry"),
    ],
)
def test_a_bad_sign_in_is_refused_with_its_cause(message: bytes, cause: str) -> None:
    session = session_of()

    answer = reply_of(take(session, message))

    assert (answer["event"], answer["data"]["code"]) == ("pusher:error", 4009)
    assert cause in answer["data"]["message"]
    assert session.user is None


def test_a_connection_belongs_to_one_user_for_good() -> None:
    session = session_of()
    take(session, sign_in('{"id":"ada","watchlist":["x"]}'))

    again = sign_in_of(take(session, sign_in('{"id":"ada","watchlist":["y"]}')))
    other = reply_of(take(session, sign_in('{"id":"grace"}')))

    assert (again.user.id, again.user.watchlist) == ("ada", ("x",))
    assert other["data"]["message"].endswith("this connection belongs to another user")
    assert session.user == again.user


def test_leaving_the_user_channel_does_not_end_what_is_sent_to_the_user() -> None:
    session = signed_in()
    take(session, subscribe("#server-to-user-ada"))

    assert take(session, unsubscribe("#server-to-user-ada")) == []
    assert reply_of(take(session, unsubscribe("#server-to-user-ada")))["event"] == "pusher:error"
    join_of(take(session, subscribe("#server-to-user-ada")))


def test_a_user_needs_no_member_data_of_their_own() -> None:
    session = session_of(proved=Verified())
    take(session, sign_in('{"id":"7","user_info":{"name": "Ada"}}'))

    join = join_of(take(session, subscribe("presence-room")))

    assert join.member == ("7", '{"user_id":"7","user_info":{"name": "Ada"}}', 15)
    assert session.subscriptions["presence-room"].user_id == "7"


def test_a_member_who_is_named_is_not_the_user_who_signed_in() -> None:
    session = signed_in()

    join = join_of(take(session, subscribe("presence-room", '{"user_id":"bob"}')))

    assert join.member is not None
    assert join.member.user_id == "bob"


def test_user_info_of_a_sign_in_keeps_to_the_bounds_of_members() -> None:
    session = session_of(limited(presence_info_bytes=4), proved=Verified())
    take(session, sign_in('{"id":"7","user_info":"long"}'))

    answer = reply_of(take(session, subscribe("presence-room")))

    assert "user_info has 6 bytes; 4 are allowed" in answer["data"]["error"]


def test_only_those_who_signed_in_before_are_terminated() -> None:
    assert signed_in(at=10.0).terminate(10.000001) == [
        Close(UNAUTHORIZED, "The connections of this user were terminated")
    ]
    assert signed_in(at=10.0).terminate(10.0) == []
    assert signed_in(at=10.0).terminate(9.0) == []
    assert session_of().terminate(10.0) == []


def test_a_sign_in_that_is_not_timed_yet_is_not_terminated() -> None:
    """Its moment is asked for, and compared then."""
    session = session_of()
    take(session, sign_in('{"id":"ada"}'))

    assert session.terminate(NOW) == []


def test_a_revoked_user_is_signed_out() -> None:
    session = signed_in(at=5.0)
    take(session, subscribe("#server-to-user-ada"))
    asked: list[tuple[str, str, float | None]] = []

    def is_revoked(user: str, channel: str, issued_at: float | None) -> bool:
        asked.append((user, channel, issued_at))
        return True

    effects = session.revoke(is_revoked)

    assert [type(effect) for effect in effects] == [Reply, Denied, Leave, SignOut, Reply]
    assert asked[-1] == ("ada", "#server-to-user-ada", 5.0)
    assert session.user is None
    assert session.signed_in_at is None


def test_the_channel_of_a_user_stands_and_falls_with_the_sign_in() -> None:
    """It is no older than that: a user who is signed in must not be deaf."""
    session = signed_in(at=5.0)
    take(session, subscribe("#server-to-user-ada"))

    effects = session.revoke(lambda _user, _channel, issued_at: issued_at is None)

    assert effects == []
    assert "#server-to-user-ada" in session.subscriptions


def test_a_sign_in_that_was_revoked_is_not_taken_again() -> None:
    """A signature of a sign-in says no age, so the same one could be sent again."""
    session = signed_in(at=5.0)
    session.revoke(lambda *_: True)

    replay = take(session, sign_in('{"id":"ada"}'))
    other = take(session, sign_in('{"id":"bob"}'))

    assert "was revoked" in reply_of(replay)["data"]["message"]
    assert replay[1] == Denied(
        "", "auth_revoked", "it was revoked on this connection: connect anew"
    )
    assert sign_in_of(other).user.id == "bob"


@pytest.mark.parametrize(
    ("message", "authorized"),
    [
        (subscribe("orders"), False),
        (subscribe("private-orders", auth="app-key:" + "0" * 64), False),
        (sign_in("{}"), False),
        (subscribe("private-orders"), True),
        (subscribe("presence-room", '{"user_id":"1"}'), True),
        (sign_in('{"id":"ada"}'), True),
    ],
)
def test_a_connection_is_authorized_once_somebody_vouched_for_it(
    message: bytes,
    authorized: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    session = session_of()

    take(session, message)

    assert session.is_authorized is authorized


def test_authorization_outlives_its_subscription() -> None:
    session = session_of()
    take(session, subscribe("private-orders"))
    take(session, unsubscribe("private-orders"))

    assert session.is_authorized


def test_a_user_channel_is_for_its_own_user() -> None:
    session = session_of()
    before = reply_of(take(session, subscribe("#server-to-user-ada")))
    take(session, sign_in('{"id":"ada"}'))

    assert before["data"]["status"] == 401
    assert "has not signed in" in before["data"]["error"]
    assert reply_of(take(session, subscribe("#server-to-user-grace")))["data"]["status"] == 401
    assert join_of(take(session, subscribe("#server-to-user-ada"))).member is None


# -- client events --------------------------------------------------------------------


def client_event(channel: str, data: object = None, name: str = "client-typing") -> bytes:
    return frame(name, data if data is not None else {}, channel=channel)


def test_a_client_event_is_relayed_as_it_was_sent() -> None:
    session = session_of()
    enter(session, "private-a")

    effects = take(
        session, b'{"event":"client-x","channel":"private-a","data":{"b": 1},"user_id":"liar"}'
    )

    event = ClientEvent("private-a", "client-x", b'{"b": 1}')
    relayed = b'{"event":"client-x","channel":"private-a","data":{"b": 1}}'
    assert effects == [Relay("private-a", relayed, event, None)]


def test_on_presence_channels_the_server_names_the_sender() -> None:
    session = session_of()
    enter(session, "presence-a", '{"user_id":7}')

    [effect] = take(session, client_event("presence-a"))

    assert isinstance(effect, Relay)
    assert json.loads(effect.frame)["user_id"] == 7
    assert effect.user_id == "7"


@pytest.mark.parametrize(
    ("app", "message", "cause"),
    [
        (limited(client_events=False), client_event("private-a"), "does not have client messaging"),
        (APP, client_event("private-b"), "not subscribed to channel 'private-b'"),
        (APP, client_event("orders"), "only private and presence channels"),
        (APP, client_event("private-a", name="client-" + "x" * 194), "201 characters"),
        (APP, client_event("private-a", "x" * 10_241), "10241 bytes"),
    ],
)
def test_a_client_event_out_of_bounds_is_refused(app: App, message: bytes, cause: str) -> None:
    session = session_of(app)
    enter(session, "private-a")
    enter(session, "orders")

    answer = reply_of(take(session, message))

    assert (answer["event"], answer["data"]["code"]) == ("pusher:error", 4301)
    assert answer["data"]["message"].startswith("Client event rejected: ")
    assert cause in answer["data"]["message"]


def test_a_client_event_before_success_is_refused() -> None:
    session = session_of()
    take(session, subscribe("private-a"))

    assert "not subscribed" in reply_of(take(session, client_event("private-a")))["data"]["message"]


def test_the_rate_is_a_bucket_that_fills_with_time() -> None:
    session = session_of(limited(client_event_rate=3))
    enter(session, "private-a")

    def sent(now: float) -> bool:
        return isinstance(take(session, client_event("private-a"), now)[0], Relay)

    assert [sent(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [sent(100.4) for _ in range(2)] == [True, False]
    assert [sent(200.0) for _ in range(4)] == [True, True, True, False]


def test_a_refused_client_event_costs_no_rate() -> None:
    session = session_of(limited(client_event_rate=1))
    enter(session, "private-a")
    for _ in range(5):
        take(session, client_event("private-b"), 1.0)

    assert isinstance(take(session, client_event("private-a"), 1.0)[0], Relay)


# -- the rest -------------------------------------------------------------------------


def test_a_ping_is_answered_and_a_pong_is_not() -> None:
    session = session_of()

    assert take(session, frame("pusher:ping", {})) == [Reply(PONG)]
    assert take(session, frame("pusher:pong", {})) == []


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"[" * 5_000, b"{}", b'{"event":1}', b'{"event":"pusher:error"}', b"NaN"],
)
def test_what_is_no_message_is_an_error_and_the_session_goes_on(text: bytes) -> None:
    session = session_of()

    answer = reply_of(take(session, text))

    assert (answer["event"], answer["data"]["code"]) == ("pusher:error", 4200)
    assert answer["data"]["message"].startswith("Invalid message: ")
    assert take(session, frame("pusher:ping", {})) == [Reply(PONG)]


names = st.sampled_from(["a", "private-a", "presence-a", "a b", "#x", ""])
data = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.fixed_dictionaries(
        {},
        optional={
            "channel": names | st.none() | st.integers(),
            "auth": st.text(max_size=10) | st.none(),
            "channel_data": st.text(max_size=10) | st.none(),
            "user_data": st.text(max_size=10),
        },
    ),
)
events = st.sampled_from(
    ["pusher:subscribe", "pusher:unsubscribe", "pusher:signin", "client-a", "pusher:ping", "x"]
)


@given(st.lists(st.builds(lambda e, d, c: frame(e, d, channel=c), events, data, names)))
@settings(max_examples=200)
def test_whatever_comes_the_session_answers_and_holds_only_what_it_joined(
    texts: list[bytes],
) -> None:
    session = session_of(limited(max_channels=2))
    for text in texts:
        for effect in take(session, text, 1.0):
            if isinstance(effect, Reply):
                json.loads(effect.frame)
    assert set(session.subscriptions) <= {"a"}


def test_what_was_found_out_about_a_refusal_is_for_the_log_alone() -> None:
    def verify(*_: object) -> Verified:
        error = InvalidSignature("no match", code="auth_mismatch")
        error.add_note("signed for another socket")
        raise error

    effects = take(Session(APP, SOCKET, verify), subscribe("private-a"))

    assert isinstance(effects[0], Reply)
    assert b"another socket" not in effects[0].frame
    assert effects[1] == Denied("private-a", "auth_mismatch", "no match. signed for another socket")
