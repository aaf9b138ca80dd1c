from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.drivers.redis.keys import Keys
from broadcaster.errors import ConfigurationError

KEYS = Keys()
_TAG = re.compile(r"\{([^}]*)\}")
channels = st.from_regex(r"#?[-a-zA-Z0-9_=@,.;]{1,200}", fullmatch=True)
apps = st.from_regex(r"[0-9]{1,20}", fullmatch=True)


def test_a_channel_key_has_app_and_channel_as_its_hash_tag() -> None:
    assert KEYS.channel("123", "private-x", "m") == "broadcaster:{123:private-x}:m"


def test_topic_and_keys_of_a_channel_share_the_hash_tag() -> None:
    assert KEYS.topic("123", "private-x") == b"broadcaster:{123:private-x}"


def test_queues_nodes_and_control_messages_have_tags_of_their_own() -> None:
    assert KEYS.queue("broadcasts", "ready") == "broadcaster:{q:broadcasts}:ready"
    assert KEYS.queues("names") == "broadcaster:{queues}:names"
    assert KEYS.nodes("leases") == "broadcaster:{nodes}:leases"
    assert KEYS.control("123") == b"broadcaster:{123:}"
    assert KEYS.of_app("123", "revoked") == "broadcaster:{123:}:revoked"


@given(apps, channels)
def test_the_tag_of_a_channel_is_that_of_nothing_else(app_id: str, channel: str) -> None:
    others = [KEYS.control(app_id).decode(), KEYS.queue("x", "m"), KEYS.nodes("x")]

    tag = _TAG.findall(KEYS.topic(app_id, channel).decode())

    assert tag == [f"{app_id}:{channel}"]
    assert tag[0] not in [_TAG.findall(other)[0] for other in others]


@pytest.mark.parametrize("channel", ["", "a:b", "a}b", "{a", "a b", "a\n", "é", "x" * 202])
def test_a_channel_name_that_could_spell_another_key_is_refused(channel: str) -> None:
    with pytest.raises(ConfigurationError, match="channel name"):
        KEYS.topic("1", channel)


@pytest.mark.parametrize("app_id", ["", "1:2", "1}", "q", "node", "nodes", "a b"])
def test_an_app_id_that_could_spell_another_key_is_refused(app_id: str) -> None:
    with pytest.raises(ConfigurationError, match="app id"):
        KEYS.control(app_id)


@pytest.mark.parametrize("name", ["", "a:b", "{a}", "a b"])
def test_a_queue_name_with_separators_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits"):
        KEYS.queue(name, "x")


@pytest.mark.parametrize("prefix", ["", "a{b", "a}b", "a b", "é"])
def test_a_prefix_with_braces_or_spaces_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        Keys(prefix)
