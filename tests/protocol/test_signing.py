"""Vectors from Pusher's documentation, and the attacks that such signatures have seen."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import (
    InvalidChannel,
    InvalidSignature,
    InvalidSocketId,
    MalformedMessage,
    ProtocolError,
)
from broadcaster.protocol.signing import (
    channel_string,
    hmac_hex,
    request_string,
    sign_channel,
    sign_request,
    sign_user,
    user_string,
    verify_channel,
    verify_request,
    verify_user,
)

KEY = "278d425bdf160c739803"
SECRET = "7ad3773142a6692b25b8"
SOCKET = "1234.1234"
MEMBER = '{"user_id":10,"user_info":{"name":"Mr. Pusher"}}'
PRIVATE = f"{KEY}:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
PRESENCE = f"{KEY}:afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c"
USER = f"{KEY}:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
BODY = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
NOW = 1_353_088_179.0


def _verify(
    auth: str, channel: str = "private-foobar", data: str | None = None, socket_id: str = SOCKET
) -> None:
    verify_channel(
        auth, key=KEY, secret=SECRET, socket_id=socket_id, channel=channel, channel_data=data
    )


class TestVectors:
    def test_a_private_channel(self) -> None:
        found = sign_channel(KEY, SECRET, socket_id=SOCKET, channel="private-foobar")

        assert found == PRIVATE
        _verify(PRIVATE)

    def test_a_presence_channel(self) -> None:
        found = sign_channel(
            KEY, SECRET, socket_id=SOCKET, channel="presence-foobar", channel_data=MEMBER
        )

        assert found == PRESENCE
        _verify(PRESENCE, "presence-foobar", MEMBER)

    def test_a_user(self) -> None:
        data = '{"id":"12345"}'

        assert sign_user(KEY, SECRET, socket_id=SOCKET, user_data=data) == USER
        verify_user(USER, key=KEY, secret=SECRET, socket_id=SOCKET, user_data=data)

    def test_an_http_request(self) -> None:
        signed = sign_request(
            KEY, SECRET, method="POST", path="/apps/3/events", body=BODY, params={}, now=NOW
        )

        assert signed == {
            "auth_key": KEY,
            "auth_timestamp": "1353088179",
            "auth_version": "1.0",
            "body_md5": "ec365a775a4cd0599faeb73354201b6f",
            "auth_signature": "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
        }
        _verify_request(signed)

    def test_what_is_signed_for_an_http_request(self) -> None:
        params = {"Zeta": "a b&c", "alpha": "1", "auth_signature": "left out"}

        assert request_string("GET", "/p", params) == b"GET\n/p\nalpha=1&zeta=a b&c"


class TestConfusion:
    """One signature must never be valid for something else (attack S1)."""

    CHANNELS = (
        ':user::{"id":"admin"}',
        "private-a:b",
        "private-x:presence-y",
        "private-x\n",
        "private-x\x00",
        "private-\u0661",
        "private-\uff41",
        "",
    )
    SOCKETS = (
        "1.2:private-y",
        "1.2:",
        "\u0661.\u0662",
        "\uff11.2",
        "1.2\n",
        "1.2\x00",
        "",
        "1234",
    )

    @pytest.mark.parametrize("channel", CHANNELS)
    def test_a_channel_name_with_separators_is_refused_by_signer_and_verifier(
        self, channel: str
    ) -> None:
        forged = f"{KEY}:{hmac_hex(SECRET, f'{SOCKET}:{channel}'.encode())}"

        with pytest.raises(InvalidChannel):
            sign_channel(KEY, SECRET, socket_id=SOCKET, channel=channel)
        with pytest.raises(InvalidChannel):
            _verify(forged, channel)

    @pytest.mark.parametrize("socket_id", SOCKETS)
    def test_a_socket_id_with_separators_is_refused_by_signer_and_verifier(
        self, socket_id: str
    ) -> None:
        forged = f"{KEY}:{hmac_hex(SECRET, f'{socket_id}:private-x'.encode())}"

        with pytest.raises(InvalidSocketId):
            sign_channel(KEY, SECRET, socket_id=socket_id, channel="private-x")
        with pytest.raises(InvalidSocketId):
            sign_user(KEY, SECRET, socket_id=socket_id, user_data="{}")
        with pytest.raises(InvalidSocketId):
            _verify(forged, "private-x", socket_id=socket_id)

    def test_a_channel_signature_signs_nobody_in(self) -> None:
        signed = sign_channel(
            KEY, SECRET, socket_id=SOCKET, channel="private-x", channel_data='{"id":"1"}'
        )

        with pytest.raises(InvalidSignature):
            verify_user(signed, key=KEY, secret=SECRET, socket_id=SOCKET, user_data='{"id":"1"}')

    def test_a_sign_in_signature_enters_no_channel(self) -> None:
        with pytest.raises(InvalidSignature):
            _verify(USER, "private-user", '{"id":"12345"}')

    @given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
    def test_different_requests_never_sign_the_same_bytes(
        self, channel: str, data: str, other_channel: str, other_data: str
    ) -> None:
        try:
            one = channel_string(socket_id="1.1", channel=channel, channel_data=data)
            two = channel_string(socket_id="1.1", channel=other_channel, channel_data=other_data)
            user = user_string(socket_id="1.1", user_data=data)
        except ProtocolError:
            return
        assert (one == two) is ((channel, data) == (other_channel, other_data))
        assert user not in (one, two)


class TestReuse:
    """A signature covers exactly what was signed, byte for byte (attack S2)."""

    @pytest.mark.parametrize(
        ("auth", "channel", "data", "socket_id"),
        [
            pytest.param(PRIVATE, "presence-foobar", MEMBER, SOCKET, id="private-as-presence"),
            pytest.param(PRESENCE, "private-foobar", MEMBER, SOCKET, id="presence-as-private"),
            pytest.param(PRESENCE, "presence-foobar", None, SOCKET, id="without-channel-data"),
            pytest.param(PRIVATE, "private-foobar", "{}", SOCKET, id="channel-data-added"),
            pytest.param(PRIVATE, "private-foobar", "", SOCKET, id="empty-channel-data-added"),
            pytest.param(PRIVATE, "private-foobaz", None, SOCKET, id="other-channel"),
            pytest.param(PRIVATE, "private-foobar", None, "1234.1235", id="other-socket"),
            pytest.param(
                PRESENCE, "presence-foobar", MEMBER.replace("10", "11"), SOCKET, id="one-byte"
            ),
            pytest.param(
                PRESENCE, "presence-foobar", MEMBER.replace(":", ": "), SOCKET, id="re-serialised"
            ),
            pytest.param(
                PRESENCE,
                "presence-foobar",
                '{"user_info":{"name":"Mr. Pusher"},"user_id":10}',
                SOCKET,
                id="keys-in-other-order",
            ),
            pytest.param(
                PRESENCE,
                "presence-foobar",
                '{"user_id":10,"user_id":10,"user_info":{"name":"Mr. Pusher"}}',
                SOCKET,
                id="duplicate-key",
            ),
        ],
    )
    def test_anything_else_is_refused(
        self, auth: str, channel: str, data: str | None, socket_id: str
    ) -> None:
        with pytest.raises(InvalidSignature, match="Invalid signature") as caught:
            _verify(auth, channel, data, socket_id)

        assert caught.value.code == "auth_mismatch"
        assert SECRET not in str(caught.value)

    @given(st.integers(0, len(MEMBER) - 1), st.characters(codec="utf-8"))
    def test_channel_data_changed_anywhere_is_refused(self, index: int, char: str) -> None:
        changed = MEMBER[:index] + char + MEMBER[index + 1 :]
        if changed == MEMBER:
            return
        with pytest.raises(InvalidSignature):
            _verify(PRESENCE, "presence-foobar", changed)


class TestAuthValues:
    @pytest.mark.parametrize(
        ("auth", "code"),
        [
            ("", "auth_missing"),
            (KEY, "auth_malformed"),
            (f"{KEY}:", "auth_malformed"),
            (f"{KEY}:{'0' * 63}", "auth_malformed"),
            (f"{KEY}:{'0' * 65}", "auth_malformed"),
            (f"{KEY}:{'F' * 64}", "auth_malformed"),
            (PRIVATE + "\n", "auth_malformed"),
            (PRIVATE + ":x", "auth_malformed"),
            (KEY + ":" + "\u0661" * 64, "auth_malformed"),
            (f"{KEY}:{'0' * 64}", "auth_mismatch"),
            (f":{PRIVATE.partition(':')[2]}", "auth_wrong_key"),
            (f"other:{PRIVATE.partition(':')[2]}", "auth_wrong_key"),
            (f"{KEY}x:{PRIVATE.partition(':')[2]}", "auth_wrong_key"),
            (f"caf\u00e9:{PRIVATE.partition(':')[2]}", "auth_wrong_key"),
        ],
    )
    def test_each_has_its_cause(self, auth: str, code: str) -> None:
        with pytest.raises(InvalidSignature) as caught:
            _verify(auth)

        assert caught.value.code == code

    def test_another_apps_secret_is_refused(self) -> None:
        signed = sign_channel(KEY, "other secret", socket_id=SOCKET, channel="private-foobar")

        with pytest.raises(InvalidSignature):
            _verify(signed)

    def test_the_answer_names_the_form_that_should_have_been_signed(self) -> None:
        with pytest.raises(InvalidSignature, match="SOCKET:CHANNEL"):
            _verify(f"{KEY}:{'0' * 64}")

    def test_text_that_has_no_bytes_is_malformed(self) -> None:
        with pytest.raises(MalformedMessage, match="surrogate"):
            _verify(PRESENCE, "presence-foobar", "\ud800")
        with pytest.raises(MalformedMessage, match="surrogate"):
            sign_user(KEY, SECRET, socket_id=SOCKET, user_data="\udfff")
        with pytest.raises(MalformedMessage, match="surrogate"):
            _verify(f"\ud800:{'0' * 64}")

    @given(st.text(), st.text(), st.one_of(st.none(), st.text()), st.text())
    def test_anything_is_verified_or_refused_as_a_protocol_error(
        self, auth: str, channel: str, data: str | None, socket_id: str
    ) -> None:
        with pytest.raises(ProtocolError):
            _verify(auth, channel, data, socket_id)

    @given(st.text(), st.text())
    def test_any_sign_in_is_refused_as_a_protocol_error(self, auth: str, data: str) -> None:
        with pytest.raises(ProtocolError):
            verify_user(auth, key=KEY, secret=SECRET, socket_id=SOCKET, user_data=data)


def _signed(*, body: bytes = BODY, **params: str) -> dict[str, str]:
    return sign_request(
        KEY, SECRET, method="POST", path="/apps/3/events", body=body, params=params, now=NOW
    )


def _verify_request(
    params: dict[str, str],
    *,
    body: bytes = BODY,
    now: float = NOW,
    method: str = "POST",
    path: str = "/apps/3/events",
) -> None:
    verify_request(
        key=KEY, secret=SECRET, method=method, path=path, params=params, body=body, now=now
    )


def _resigned(params: dict[str, str]) -> dict[str, str]:
    """Sign whatever is there with the right secret, as a client with odd ideas would."""
    digest = hmac_hex(SECRET, request_string("POST", "/apps/3/events", params))
    return {**params, "auth_signature": digest}


class TestRequests:
    """Signatures of the HTTP API (attack S4)."""

    @pytest.mark.parametrize("away", [-600, -1, 0, 1, 600])
    def test_a_timestamp_within_ten_minutes_is_accepted(self, away: int) -> None:
        _verify_request(_signed(), now=NOW + away)

    @pytest.mark.parametrize("away", [-100_000, -601, 601, 100_000])
    def test_a_timestamp_further_away_is_expired(self, away: int) -> None:
        with pytest.raises(
            InvalidSignature, match=r"Timestamp expired.*600 s are allowed"
        ) as caught:
            _verify_request(_signed(), now=NOW + away)

        assert caught.value.code == "auth_expired"

    @pytest.mark.parametrize(
        "missing", ["auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5"]
    )
    @pytest.mark.parametrize("how", ["absent", "empty"])
    def test_a_missing_parameter_is_named(self, missing: str, how: str) -> None:
        params = _signed()
        if how == "absent":
            del params[missing]
        else:
            params[missing] = ""

        with pytest.raises(InvalidSignature, match=missing) as caught:
            _verify_request(params)

        assert caught.value.code == "auth_missing"

    @pytest.mark.parametrize("timestamp", ["x", "1e9", "-1", "1353088179.5", "\u0661", "1" * 13])
    def test_a_timestamp_that_is_no_number_is_malformed(self, timestamp: str) -> None:
        params = _resigned({**_signed(), "auth_timestamp": timestamp})

        with pytest.raises(InvalidSignature, match="Unix seconds") as caught:
            _verify_request(params)

        assert caught.value.code == "auth_malformed"

    def test_another_version_is_malformed(self) -> None:
        with pytest.raises(InvalidSignature, match=r"1\.0"):
            _verify_request(_resigned({**_signed(), "auth_version": "2.0"}))

    def test_another_key_is_named_wrong(self) -> None:
        with pytest.raises(InvalidSignature) as caught:
            _verify_request(_resigned({**_signed(), "auth_key": "other"}))

        assert caught.value.code == "auth_wrong_key"

    def test_a_body_that_is_not_the_signed_one_is_refused(self) -> None:
        with pytest.raises(InvalidSignature, match="body_md5") as caught:
            _verify_request(_signed(), body=BODY + b" ")

        assert caught.value.code == "body_mismatch"

    def test_a_body_taken_away_is_refused(self) -> None:
        with pytest.raises(InvalidSignature, match="body_md5"):
            _verify_request(_signed(), body=b"")

    def test_an_empty_body_is_accepted_with_its_md5_and_without(self) -> None:
        signed = _signed(body=b"")
        without = _resigned({name: signed[name] for name in signed if name != "body_md5"})

        _verify_request(signed, body=b"")
        _verify_request(without, body=b"")

    def test_another_method_or_path_is_refused(self) -> None:
        with pytest.raises(InvalidSignature):
            _verify_request(_signed(), method="GET")
        with pytest.raises(InvalidSignature):
            _verify_request(_signed(), path="/apps/4/events")

    def test_a_parameter_added_or_changed_is_refused(self) -> None:
        signed = _signed(info="user_count")

        _verify_request(signed)
        with pytest.raises(InvalidSignature):
            _verify_request({**signed, "info": "subscription_count"})
        with pytest.raises(InvalidSignature):
            _verify_request({**signed, "more": "1"})

    def test_names_in_upper_case_are_the_same_names(self) -> None:
        signed = _signed()

        _verify_request({name.upper(): value for name, value in signed.items()})

    def test_the_refusal_names_what_should_have_been_signed_and_no_secret(self) -> None:
        with pytest.raises(InvalidSignature, match=r"POST\\n/apps/3/events\\nauth_key=") as caught:
            _verify_request({**_signed(), "auth_signature": "0" * 64})

        assert SECRET not in str(caught.value)
        assert caught.value.code == "auth_mismatch"

    @given(st.dictionaries(st.text(), st.text()), st.binary(max_size=50), st.text(), st.text())
    def test_any_request_is_refused_as_a_protocol_error(
        self, params: dict[str, str], body: bytes, method: str, path: str
    ) -> None:
        with pytest.raises(ProtocolError):
            _verify_request(params, body=body, method=method, path=path)

    @given(
        st.dictionaries(
            st.sampled_from([
                "auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5", "x",
            ]),
            st.one_of(st.just(KEY), st.just("1.0"), st.just(str(int(NOW))), st.text()),
        )
    )  # fmt: skip
    def test_any_mixture_of_parameters_is_refused_as_a_protocol_error(
        self, params: dict[str, str]
    ) -> None:
        with pytest.raises(ProtocolError):
            _verify_request(params)


@given(st.text(st.characters(codec="utf-8")), st.binary())
def test_the_digest_is_hmac_sha256_in_lower_case_hex(secret: str, text: bytes) -> None:
    assert hmac_hex(secret, text) == hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
