"""Channels as events name them."""

from __future__ import annotations

from typing import Any

import pytest

from broadcaster.errors import InvalidChannel
from broadcaster.events.channels import (
    Channel,
    EncryptedPrivateChannel,
    PresenceChannel,
    PrivateChannel,
    channel_names,
)


class Order:
    def broadcast_channel(self) -> str:
        return "App.Models.Order.7"


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        (Channel("orders.1"), "orders.1"),
        (PrivateChannel("orders.1"), "private-orders.1"),
        (PrivateChannel("cache-orders"), "private-cache-orders"),
        (PresenceChannel("chat.1"), "presence-chat.1"),
        (EncryptedPrivateChannel("vault"), "private-encrypted-vault"),
        (Channel("#server-to-user-7"), "#server-to-user-7"),
        (PrivateChannel(Order()), "private-App.Models.Order.7"),
    ],
)
def test_a_class_writes_the_prefix(channel: Channel, name: str) -> None:
    assert channel.name == name
    assert str(channel) == name


def test_channels_of_one_name_are_equal() -> None:
    assert PrivateChannel("a") == Channel("private-a")
    assert len({PrivateChannel("a"), Channel("private-a"), Channel("a")}) == 2
    assert repr(PrivateChannel("a")) == "PrivateChannel('a')"


@pytest.mark.parametrize("name", ["", "a b", "ä", "a" * 200, "a:b", "a/b", "a\n"])
def test_a_name_outside_the_grammar_is_refused_at_construction(name: str) -> None:
    with pytest.raises(InvalidChannel):
        PrivateChannel(name)


def test_a_prefix_is_not_written_twice() -> None:
    with pytest.raises(InvalidChannel, match="leave out the prefix 'private-'"):
        PrivateChannel("private-orders.1")


def test_a_private_channel_cannot_become_an_encrypted_one_by_its_name() -> None:
    """Readable data on an encrypted channel would reach clients that cannot decrypt it."""
    with pytest.raises(InvalidChannel, match="which is encrypted"):
        PrivateChannel("encrypted-orders")


def test_one_channel_and_several_are_both_taken() -> None:
    assert channel_names("a") == ("a",)
    assert channel_names(PrivateChannel("a")) == ("private-a",)
    assert channel_names(["a", PrivateChannel("b"), Order()]) == (
        "a",
        "private-b",
        "private-App.Models.Order.7",
    )
    assert channel_names(iter(("a", "b"))) == ("a", "b")


def test_a_channel_named_twice_is_used_once() -> None:
    assert channel_names(["a", Channel("a"), "b", "a"]) == ("a", "b")


def test_none_and_nothing_name_no_channel() -> None:
    assert channel_names(None) == ()
    assert channel_names([]) == ()


@pytest.mark.parametrize("wrong", [7, object(), [7], [None], b"private-a"])
def test_what_names_no_channel_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidChannel, match="names no channel"):
        channel_names(wrong)


@pytest.mark.parametrize("wrong", [None, 7, b"orders"])
def test_a_channel_of_what_is_no_name_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidChannel, match=f"PrivateChannel of a {type(wrong).__name__}"):
        PrivateChannel(wrong)
