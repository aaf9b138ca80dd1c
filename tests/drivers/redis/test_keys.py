from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.drivers.redis.keys import Keys
from broadcaster.errors import ConfigurationError, MalformedMessage

KEYS = Keys()
channels = st.from_regex(r"#?[-a-zA-Z0-9_=@,.;]{1,200}", fullmatch=True)
apps = st.from_regex(r"[0-9]{1,20}", fullmatch=True)


def test_a_channel_key_has_app_and_channel_as_its_hash_tag() -> None:
    assert KEYS.channel("123", "private-x", "m") == "broadcaster:{123:private-x}:m"


def test_topic_and_keys_of_a_channel_share_the_hash_tag() -> None:
    assert KEYS.topic("123", "private-x") == b"broadcaster:{123:private-x}"


def test_queue_node_and_app_keys_have_tags_of_their_own() -> None:
    assert KEYS.queue("broadcasts", "ready") == "broadcaster:{q:broadcasts}:ready"
    assert KEYS.node("n1", "lease") == "broadcaster:{node:n1}:lease"
    assert KEYS.nodes("leases") == "broadcaster:{nodes}:leases"
    assert KEYS.app("123", "occupied") == "broadcaster:{123}:occupied"


@given(apps, channels)
def test_a_topic_reads_back_as_app_and_channel(app_id: str, channel: str) -> None:
    assert KEYS.parse_topic(KEYS.topic(app_id, channel)) == (app_id, channel)


def test_the_control_topic_reads_back_with_an_empty_channel() -> None:
    assert KEYS.parse_topic(KEYS.control("123")) == ("123", "")


@pytest.mark.parametrize(
    "topic",
    [
        b"",
        b"broadcaster:",
        b"broadcaster:{123:x",
        b"broadcaster:{123}",
        b"broadcaster:{:x}",
        b"other:{123:x}",
        b"\xff\xfe",
    ],
)
def test_a_foreign_topic_is_malformed(topic: bytes) -> None:
    with pytest.raises(MalformedMessage):
        KEYS.parse_topic(topic)


@given(st.binary(max_size=60))
def test_any_topic_parses_or_is_malformed(topic: bytes) -> None:
    try:
        app_id, _ = KEYS.parse_topic(topic)
    except MalformedMessage:
        return
    assert app_id


@pytest.mark.parametrize("channel", ["", "a:b", "a}b", "{a", "a b", "a\n", "é", "x" * 202])
def test_a_channel_name_that_could_spell_another_key_is_refused(channel: str) -> None:
    with pytest.raises(ConfigurationError, match="channel name"):
        KEYS.topic("1", channel)


@pytest.mark.parametrize("app_id", ["", "1:2", "1}", "q", "node", "nodes", "a b"])
def test_an_app_id_that_could_spell_another_key_is_refused(app_id: str) -> None:
    with pytest.raises(ConfigurationError, match="app id"):
        KEYS.control(app_id)


@pytest.mark.parametrize("name", ["", "a:b", "{a}", "a b"])
def test_a_queue_or_node_name_with_separators_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits"):
        KEYS.queue(name, "x")
    with pytest.raises(ConfigurationError, match="letters, digits"):
        KEYS.node(name, "x")


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a b", "é"])
def test_a_prefix_with_braces_or_spaces_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        Keys(prefix)
