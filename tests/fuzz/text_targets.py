"""What names, signatures, members and grants are made of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from typing import Any

from broadcaster_auth.tokens import verify
from hypothesis import strategies as st

from broadcaster.errors import (
    BroadcasterError,
    InvalidChannel,
    InvalidToken,
    ProtocolError,
)
from broadcaster.protocol.app import App
from broadcaster.protocol.channels import parse_channel
from broadcaster.protocol.hmac_verifier import HmacVerifier
from broadcaster.protocol.jwks import parse_jwks
from broadcaster.protocol.messages import parse_channel_data
from broadcaster.protocol.sign_in import parse_user_data
from broadcaster.protocol.signing import sign_channel
from tests.auth.grant_keys import SHARED, shared_key
from tests.fuzz.json_inputs import encoded, objects, one_of_or_anything, scalars, values
from tests.fuzz.target import Target, fields_of, refused, text_of

NOW = 1_700_000_000.0

# -- channel names ---------------------------------------------------------------------

NAME = re.compile(r"[-a-zA-Z0-9_=@,.;]{1,200}|#server-to-user-[-a-zA-Z0-9_=@,.;]{1,184}")


def read_channel(data: bytes) -> object:
    text = text_of(data)
    try:
        channel = parse_channel(text)
    except InvalidChannel as error:
        return refused(error)
    assert channel.name == text
    assert NAME.fullmatch(text), "the grammar, written a second time"
    assert channel.is_presence == text.startswith("presence-")
    assert channel.needs_auth == text.startswith(("private-", "presence-"))
    return channel.kind.name


prefixes = st.sampled_from(
    [
        "",
        "private-",
        "presence-",
        "cache-",
        "private-encrypted-",
        "presence-cache-",
        "#",
        "Private-",
    ]
)
channel_name = Target(
    name="channel_name",
    check=read_channel,
    inputs=st.builds(
        lambda prefix, rest: (prefix + rest).encode("utf-8", "surrogatepass"),
        prefixes,
        st.from_regex(r"[-a-zA-Z0-9_=@,.;]{0,200}", fullmatch=True) | st.text(max_size=30),
    ),
    seeds=(
        b"orders",
        b"private-encrypted-cache-a",
        b"presence-chat.1",
        b"#server-to-user-1",
        b"x" * 200,
    ),
)

# -- signatures ------------------------------------------------------------------------

APP = App(id="3", key="app-key", secret="app-secret")
VERIFIER = HmacVerifier()


class Apps:
    """A provider of one app."""

    def by_key(self, key: str) -> App | None:
        return APP if key == APP.key else None


def check_auth(data: bytes) -> object:
    """No text but the right one opens a channel; every refusal can be explained."""
    auth, channel, channel_data, socket_id = map(text_of, fields_of(data, 4))
    given = channel_data or None
    asked: dict[str, Any] = {
        "auth": auth,
        "socket_id": socket_id,
        "channel": channel,
        "channel_data": given,
        "now": NOW,
    }
    try:
        VERIFIER.verify_subscription(APP, **asked)
    except BroadcasterError as error:
        cause = VERIFIER.explain_refusal(APP, Apps(), error, **asked)
        assert APP.secret not in cause
        return refused(error)
    assert auth == sign_channel(
        APP.key, APP.secret, socket_id=socket_id, channel=channel, channel_data=given
    )
    return "good"


def good_auth(channel: str, channel_data: str = "", socket_id: str = "1.2") -> bytes:
    auth = sign_channel(
        APP.key,
        APP.secret,
        socket_id=socket_id,
        channel=channel,
        channel_data=channel_data or None,
    )
    return f"{auth}\x00{channel}\x00{channel_data}\x00{socket_id}".encode()


members = objects(
    user_id=one_of_or_anything("1", 1, "x" * 128),
    user_info=values,
    exp=scalars,
    iat=scalars,
    user=scalars,
)
auth_string = Target(
    name="auth_string",
    check=check_auth,
    inputs=st.builds(
        lambda channel, member: good_auth(channel, json.dumps(member) if member else ""),
        st.sampled_from(["private-a", "presence-a", "private-encrypted-a"]),
        st.none() | members,
    ),
    seeds=(
        good_auth("private-a"),
        good_auth("presence-a", '{"user_id":"1"}'),
        b"app-key:a.b.c\0private-a\0\x001.2",
        b":\0:user::\0{}\x001.2",
    ),
)

# -- members and users -----------------------------------------------------------------


def read_member(data: bytes) -> object:
    text = text_of(data)
    outcome: list[str] = []
    try:
        member = parse_channel_data(text)
    except ProtocolError as error:
        outcome.append(refused(error))
    else:
        # An empty id is judged with the other limits of members.
        member.user_id.encode()
        json.loads(member.data)
        outcome.append("member")
    try:
        user = parse_user_data(text, max_watched=2)
    except ProtocolError as error:
        outcome.append(refused(error))
    else:
        assert len(user.watchlist) <= 2
        json.loads(user.member_data)
        outcome.append("user")
    return outcome


channel_data = Target(
    name="channel_data",
    check=read_member,
    inputs=encoded(
        objects(
            user_id=one_of_or_anything("1", 1, "__proto__"),
            user_info=values,
            id=one_of_or_anything("1", "a b"),
            watchlist=st.lists(one_of_or_anything("1", "2", "3"), max_size=4) | scalars,
        )
    ),
    seeds=(
        b'{"user_id":"1","user_info":{"name":"Ada"}}',
        b'{"user_id":7}',
        b'{"id":"1","user_info":{"name":"Ada"},"watchlist":["2","3"]}',
    ),
)

# -- grants ----------------------------------------------------------------------------

CLAIMS = {
    "aud": "broadcaster:3",
    "sub": "1",
    "channels": ["private-x"],
    "iat": int(NOW),
    "exp": int(NOW) + 60,
}
KEYS = (shared_key(),)


def part(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def token(header: bytes, claims: bytes) -> str:
    body = part(header) + b"." + part(claims)
    mac = hmac.new(SHARED.encode(), body, hashlib.sha256).digest()
    return (body + b"." + part(mac)).decode()


def check_grant(data: bytes) -> object:
    """Signed by the right key, whatever the content; and as a token, unsigned by anybody."""
    outcomes: list[str] = []
    header, claims = fields_of(data, 2)
    for text in (token(header, claims), text_of(data)):
        try:
            grant = verify(text, KEYS, app_id="3", now=NOW)
        except InvalidToken as error:
            outcomes.append(refused(error))
            continue
        assert text == token(header, claims) or text_of(data) == text
        assert grant.exp > NOW
        assert grant.sub
        outcomes.append("good")
    return outcomes


jwt = Target(
    name="jwt",
    check=check_grant,
    inputs=st.builds(
        lambda header, claims: header + b"\0" + claims,
        encoded(
            objects(
                alg=one_of_or_anything("HS256", "none"), kid=one_of_or_anything("1"), crit=values
            )
        )
        | st.just(b'{"alg":"HS256","kid":"1"}'),
        encoded(
            objects(
                aud=one_of_or_anything("broadcaster:3"),
                sub=one_of_or_anything("1"),
                channels=st.lists(one_of_or_anything("private-x", "private-*"), max_size=2),
                iat=one_of_or_anything(int(NOW)),
                exp=one_of_or_anything(int(NOW) + 60),
                socket_id=one_of_or_anything("1.2"),
                info=values,
            )
        ),
    ),
    seeds=(
        b'{"alg":"HS256","kid":"1"}\0' + json.dumps(CLAIMS).encode(),
        token(b'{"alg":"HS256","kid":"1"}', json.dumps(CLAIMS).encode()).encode(),
    ),
)


def read_keys(data: bytes) -> object:
    try:
        return len(parse_jwks(data))
    except BroadcasterError as error:
        return refused(error)


jwks = Target(
    name="jwks",
    check=read_keys,
    inputs=encoded(
        objects(keys=st.lists(objects(kty=one_of_or_anything("RSA", "EC"), kid=scalars)) | values)
    ),
    seeds=(b'{"keys":[{"kty":"RSA","kid":"1","n":"AQAB","e":"AQAB"}]}',),
)

TARGETS = (channel_name, auth_string, channel_data, jwt, jwks)
