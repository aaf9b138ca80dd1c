"""One channel's subscribers: who is written to, in how many writes, and who is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.hub.channel import MAX_BUFFERED, Buffered, Joining, LocalChannel
from tests.hub.subscribers import Peer

if TYPE_CHECKING:
    from collections.abc import Callable


def channel_of(*peers: Peer) -> LocalChannel:
    channel = LocalChannel(b"topic", "1", "presence-a")
    for peer in peers:
        channel.add(peer)
    return channel


def test_frames_of_one_tick_are_joined_into_one_write() -> None:
    peer = Peer("1.1")
    channel = channel_of(peer)

    firsts = [channel.append(frame) for frame in (b"a", b"b", b"c")]
    channel.flush()
    channel.flush()

    assert firsts == [True, False, False]
    assert peer.writes == [b"abc"]


def test_the_next_tick_begins_anew() -> None:
    peer = Peer("1.1")
    channel = channel_of(peer)
    channel.append(b"a")
    channel.flush()

    assert channel.append(b"b")
    channel.flush()

    assert peer.writes == [b"a", b"b"]


def test_nothing_is_kept_for_nobody() -> None:
    channel = channel_of()

    assert not channel.append(b"a")
    peer = Peer("1.1")
    channel.add(peer)
    channel.flush()

    assert peer.writes == []


def test_the_list_of_writes_follows_its_subscribers() -> None:
    first, second = Peer("1.1"), Peer("2.2")
    channel = channel_of(first)
    channel.append(b"a")
    channel.flush()
    channel.add(second)
    channel.append(b"b")
    channel.flush()
    channel.discard(first)
    channel.append(b"c")
    channel.flush()

    assert (first.writes, second.writes) == ([b"a", b"b"], [b"b", b"c"])


def test_a_paused_subscriber_leaves_the_fast_list_and_comes_back() -> None:
    reader, slow = Peer("1.1"), Peer("2.2")
    channel = channel_of(reader, slow)
    slow.paused = True
    channel.pace_changed()
    channel.append(b"a")
    channel.flush()
    slow.paused = False
    channel.pace_changed()
    channel.append(b"b")
    channel.flush()

    assert reader.writes == [b"a", b"b"]
    assert (slow.slow, slow.writes) == ([b"a"], [b"b"])


def test_excluded_sockets_miss_their_frames_and_get_the_others_in_one_write() -> None:
    sender, other = Peer("1.1"), Peer("2.2")
    channel = channel_of(sender, other)
    channel.append(b"a")
    channel.append(b"b", excluded=("1.1",))
    channel.append(b"c")
    channel.append(b"d", excluded=("2.2", "9.9"))
    channel.flush()

    assert (sender.writes, other.writes) == ([b"acd"], [b"abc"])


def test_a_socket_excluded_from_everything_is_not_written_to() -> None:
    sender, other = Peer("1.1"), Peer("2.2")
    channel = channel_of(sender, other)
    channel.append(b"a", excluded=("1.1",))
    channel.flush()
    channel.append(b"b")
    channel.flush()

    assert (sender.writes, other.writes) == ([b"b"], [b"a", b"b"])


class CountedPeer(Peer):
    """Counts how often it is asked for its id."""

    asked = 0

    def __getattribute__(self, name: str) -> object:
        if name == "socket_id":
            CountedPeer.asked += 1
        return super().__getattribute__(name)


def test_who_is_left_out_is_looked_up_and_not_searched_for() -> None:
    """Ten thousand who were given the last event of a cache channel are left out together."""
    peers = [CountedPeer(f"{number}.1") for number in range(100)]
    channel, ids = channel_of(*peers), tuple(peer.socket_id for peer in peers)
    for frame in (b"a", b"b", b"c"):
        channel.append(frame, excluded=ids)
    channel.append(b"d")
    CountedPeer.asked = 0

    channel.flush()

    assert [peer.writes for peer in peers] == [[b"d"]] * 100
    assert CountedPeer.asked <= 4 * len(peers)


def test_exclusion_and_pausing_go_together() -> None:
    sender, slow = Peer("1.1", paused=True), Peer("2.2", paused=True)
    channel = channel_of(sender, slow)
    channel.append(b"a", excluded=("1.1",))
    channel.append(b"b")
    channel.flush()

    assert (sender.slow, slow.slow) == ([b"b"], [b"ab"])
    assert sender.writes + slow.writes == []


def test_a_channel_is_empty_when_nobody_is_in_it_or_on_the_way() -> None:
    channel = channel_of()
    joiner, waiter, member = Peer("1.1"), Peer("2.2"), Peer("3.3")
    assert channel.is_empty

    channel.joining[joiner] = Joining()
    assert not channel.is_empty
    assert not channel.discard(joiner)
    channel.waiting[waiter] = lambda: None
    assert not channel.is_empty
    assert not channel.discard(waiter)
    channel.add(member)
    assert (len(channel), channel.is_empty) == (1, False)

    assert channel.discard(member)
    assert not channel.discard(member)
    assert channel.is_empty


# -- joining --------------------------------------------------------------------------


def test_a_joiner_gets_after_the_snapshot_what_the_snapshot_does_not_show() -> None:
    joiner = Peer("1.1")
    channel = channel_of()
    joining = channel.joining[joiner] = Joining()

    channel.append(b"old delta", version=4)
    channel.append(b"event")
    channel.append(b"new delta", version=6)
    channel.append(b"not for me", excluded=("1.1",))

    assert joining.after(5, "1.1") == [b"event", b"new delta"]
    assert joining.after(5, "2.2") == [b"event", b"new delta", b"not for me"]
    assert joiner.writes == []


def test_a_joiner_may_be_owed_something_before_all_that_is_kept() -> None:
    """The last event of a cache channel."""
    joiner = Peer("1.1")
    channel = channel_of()
    joining = channel.joining[joiner] = Joining(b"last")

    channel.append(b"event")

    assert joining.after(5, "1.1") == [b"last", b"event"]


def test_what_is_kept_for_a_joiner_is_bounded() -> None:
    joining = Joining()
    for _ in range(MAX_BUFFERED):
        joining.keep(Buffered(b"x", 0, ()))
    assert not joining.overflowed

    joining.keep(Buffered(b"x", 0, ()))

    assert joining.overflowed
    assert len(joining.frames) == MAX_BUFFERED


# -- presence versions ----------------------------------------------------------------


def test_the_first_member_brings_the_version() -> None:
    channel = channel_of()

    channel.add_member(Peer("1.1"), 7)

    assert channel.roster == 7
    assert channel.ahead == {}


def test_a_member_with_a_newer_list_is_ahead_until_the_others_have_caught_up() -> None:
    early, late = Peer("1.1"), Peer("2.2")
    channel = channel_of()
    channel.add_member(early, 7)
    channel.add_member(late, 9)

    assert channel.roster == 7
    assert channel.knowing(8) == ("2.2",)
    assert channel.knowing(9) == ("2.2",)
    assert channel.ahead == {}
    assert channel.knowing(10) == ()


def test_a_member_with_an_equal_or_older_list_is_not_ahead() -> None:
    channel = channel_of()
    channel.add_member(Peer("1.1"), 7)
    channel.add_member(Peer("2.2"), 7)

    assert channel.ahead == {}


def test_the_version_of_a_channel_that_was_left_by_all_is_set_anew() -> None:
    first, second = Peer("1.1"), Peer("2.2")
    channel = channel_of()
    channel.add_member(first, 7)
    channel.discard(first)
    channel.add_member(second, 3)

    assert channel.roster == 3
    assert channel.ahead == {}


def test_who_leaves_is_not_ahead_any_more() -> None:
    early, late = Peer("1.1"), Peer("2.2")
    channel = channel_of()
    channel.add_member(early, 7)
    channel.add_member(late, 9)

    channel.discard(late)

    assert channel.knowing(8) == ()


class Filling(Peer):
    """A connection whose send buffer is full after the first write."""

    @property
    def write(self) -> Callable[[bytes], None]:
        def fill(data: bytes) -> None:
            self.writes.append(data)
            self.paused = True

        return fill


def test_who_is_paused_by_a_write_is_not_written_to_twice() -> None:
    reader, filling, slow = Peer("1.1"), Filling("2.2"), Peer("3.3", paused=True)
    channel = channel_of(reader, filling, slow)

    channel.append(b"a")
    channel.flush()

    assert filling.writes + filling.slow == [b"a"]
    assert (reader.writes, slow.slow) == ([b"a"], [b"a"])


def test_who_is_paused_by_a_write_that_skips_somebody_is_not_written_to_twice() -> None:
    filling = Filling("1.1")
    channel = channel_of(filling, Peer("2.2"))

    channel.append(b"a", excluded=("2.2",))
    channel.flush()

    assert filling.writes + filling.slow == [b"a"]
