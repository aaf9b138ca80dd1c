"""An app as a table: read strictly, and explained where it is wrong."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import ConfigurationError
from broadcaster.protocol.app import LIMIT_RANGES, App, AppLimits, Webhook
from broadcaster.protocol.app_table import FIELDS, LIMIT_TYPES, limit_problem, parse_app

SHOP: dict[str, object] = {"id": "shop", "key": "shop-key", "secret": "hunter2-secret"}
MASTER = b"m" * 32


def parse(**said: object) -> App:
    return parse_app({**SHOP, **said}, where="here")


def refused(table: dict[str, object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_app(table, where="here")
    return caught.value.message


def test_three_texts_are_an_app() -> None:
    assert parse() == App(id="shop", key="shop-key", secret="hunter2-secret")


def test_everything_else_may_be_said() -> None:
    app = parse(
        grant_key="g" * 32,
        jwks_url="https://id.example/jwks.json",
        encryption_key=base64.b64encode(MASTER).decode(),
        enabled=False,
        server_events=True,
        limits={"max_channels": 5, "stuck_seconds": 3, "allowed_origins": ["a.example"]},
        webhooks=[{"url": "https://a.example/hooks", "events": ["channel_occupied"]}],
    )

    assert app == App(
        id="shop",
        key="shop-key",
        secret="hunter2-secret",
        grant_keys=(("1", "HS256", "g" * 32),),
        jwks_url="https://id.example/jwks.json",
        encryption_key=MASTER,
        enabled=False,
        server_events=True,
        limits=AppLimits(max_channels=5, stuck_seconds=3.0, allowed_origins=("a.example",)),
        webhooks=(Webhook(url="https://a.example/hooks", events=("channel_occupied",)),),
    )
    assert isinstance(app.limits.stuck_seconds, float)


def test_what_limits_do_not_say_is_as_the_base_has_it() -> None:
    base = AppLimits(max_channels=9, presence_members=7)

    app = parse_app({**SHOP, "limits": {"max_channels": 3}}, where="here", base=base)

    assert app.limits == replace(base, max_channels=3)


def test_every_limit_has_a_type_that_its_default_has() -> None:
    usual = AppLimits()
    for name in LIMIT_TYPES:
        assert limit_problem(name, getattr(usual, name)) == "", name
    assert set(LIMIT_RANGES) <= set(LIMIT_TYPES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": None}, "here (id 'None'): id must be text in quotes"),
        ({"id": 1234}, "id must be text in quotes"),
        ({"id": "a/b"}, "id must be letters, digits, '-' or '_', and none of b, l, node, nodes, q, not 'a/b'"),
        ({"id": "nodes"}, "id must be letters"),
        ({"id": "\u0661"}, "id must be letters"),
        ({"key": "a b"}, "key must be letters"),
        ({"key": ""}, "key must be letters"),
        ({"secret": ""}, "secret must be 1 to 256 characters"),
        ({"secret": "hunter2\n"}, "without a space or line break at an end, not the value given"),
        ({"secret": " hunter2"}, "secret must be"),
        ({"secret": "hunter2" * 50}, "secret must be"),
        ({"secret": ["hunter2"]}, "secret must be text in quotes"),
        ({"grant_key": "hunter2"}, "grant_key must be 32 bytes or more"),
        ({"secret": "s" * 32, "grant_key": "s" * 32}, "differ from the secret"),
        ({"jwks_url": "http://id.example"}, "here (id 'shop'): jwks_url: "),
        ({"encryption_key": "hunter2"}, "encryption_key must be 32 bytes in Base64"),
        ({"encryption_key": base64.b64encode(b"hunter2").decode()}, "32 bytes in Base64"),
        ({"encryption_key": "\u00e4"}, "32 bytes in Base64"),
        ({"enabled": 1}, "enabled must be true or false, not '1'"),
        ({"enabled": "false"}, "enabled must be true or false"),
        ({"server_events": None}, "server_events must be true or false"),
        ({"limits": [1]}, "limits must be a table"),
        ({"limits": {"max_conections": 1}}, "did you mean 'limits.max_connections'?"),
        ({"limits": {"max_channels": 0}}, "limits.max_channels must be a whole number from 1"),
        ({"limits": {"max_channels": "5"}}, "limits.max_channels must be a whole number"),
        ({"limits": {"max_channels": True}}, "limits.max_channels must be a whole number"),
        ({"limits": {"max_channels": 1.5}}, "limits.max_channels must be a whole number"),
        ({"limits": {"max_connections": -1}}, "a whole number, 0 or more, not '-1'"),
        ({"limits": {"max_connections": float("nan")}}, "a whole number, 0 or more"),
        ({"limits": {"client_events": "no"}}, "limits.client_events must be true or false"),
        ({"limits": {"allowed_origins": "a.example"}}, "must be a list of texts"),
        ({"limits": {"allowed_origins": [1]}}, "must be a list of texts"),
        ({"limits": {"allowed_origins": ["https://a.example"]}}, "without scheme"),
        ({"webhooks": {"url": "https://a.example"}}, "webhooks must be a list of tables"),
        ({"webhooks": ["https://a.example"]}, "webhooks #1 must be a table"),
        ({"webhooks": [{"url": "https://a.example"}, {"url": "x"}]}, "here (id 'shop'): webhooks #2"),
        ({"webhooks": [{"url": "https://a.example"}] * 11}, "10 webhooks at most, not 11"),
        ({"grantkey": "g"}, "unknown setting 'grantkey' - did you mean 'grant_key'?"),
        ({"max_channels": 1}, "unknown setting 'max_channels' - did you mean 'limits.max_channels'?"),
        ({"zzz": 1}, "unknown setting 'zzz'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_no_secret(
    change: dict[str, Any], says: str
) -> None:
    message = refused({**SHOP, **change})

    assert says in message
    assert message.startswith("here")
    assert "hunter2" not in message


@pytest.mark.parametrize("missing", ["id", "key", "secret"])
def test_what_is_missing_is_named(missing: str) -> None:
    table = {name: value for name, value in SHOP.items() if name != missing}

    assert refused(table).endswith(f": {missing} is missing")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON | st.just("x" * 32)),
    st.dictionaries(st.sampled_from(sorted(LIMIT_TYPES)), JSON),
)
def test_any_table_is_an_app_or_refused(said: dict[str, Any], limits: dict[str, Any]) -> None:
    """Whoever can write to Redis must not be able to end a gateway's task."""
    for table in ({**SHOP, **said}, {**SHOP, "limits": limits}):
        with suppress(ConfigurationError):
            parse_app(table, where="here")
