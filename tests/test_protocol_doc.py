"""Every behaviour that docs/protocol.md promises names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
ROWS: list[tuple[str, str]] = [
    (row[0], row[1])
    for table in re.findall(r"^\| behaviour \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    for row in re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)
]

# What the suites of other servers and clients assert, and the traps of the protocol, by the
# first words of the row.
REQUIRED = (
    # connecting and closing
    "The first frame is `pusher:connection_established`",
    "Protocols 4 to 7 are spoken",
    "What is wrong with the address is said after the handshake, in one code",
    "A disabled app closes with 4003",
    "An app over its number of connections closes with 4100",
    "Pages of origins that the app does not list are closed with 4009",
    "A path prefix may stand before",
    "A ping frame and `pusher:ping` are both answered",
    "A silent connection is asked and then closed with 4201",
    "Nothing that may pass is closed with 4000-4099; 4301 and 4302 are never close codes",
    "A stop sends clients away with 4200 spread over its time",
    "Text frames only: binary ends with 1003; control frames",
    "A message over the size limit",
    "Messages that are refused over and over end the connection",
    # messages and channels
    "`data` of a client may be an object or that object as text",
    "What was published arrives as the text it was; event names are any text",
    "No event of a channel comes before its success",
    "Every kind of channel is entered and delivers",
    "A public channel takes an empty `auth`",
    "A prefix counts with its dash",
    "Names have up to 200 characters",
    "Names with `#` are reserved",
    "Nothing of a channel arrives after unsubscribing",
    "Unsubscribing twice is harmless",
    "A pending subscription can be cancelled and reinstated; the seven sequences",
    "Nothing is left behind by who unsubscribes, leaves or breaks off",
    "The number of subscribers is told when the app wants it",
    # authorization
    "The published vectors",
    "A wrong signature is refused on its channel: `pusher:subscription_error`",
    "`channel_data` is part of what is signed on private channels too",
    "What was signed is checked as the text that was sent",
    "The key before the signature is checked too",
    "A subscription is never refused for a passing reason",
    # presence and client events
    "The answer is text with `ids`, `hash` and `count`, oneself included",
    "`members.me` and Echo's `here`",
    "A user id keeps its JSON type",
    "Members come and go per user and not per connection",
    "A full channel refuses new members (`LimitReached`, 4100)",
    "100 members, `user_info` of 1 kB, ids of 128 characters",
    "A signed-in user needs no `channel_data`",
    "They reach the others and not their sender",
    "On presence channels the server says who sent it",
    "Refused with 4301, the connection staying",
    "More than ten a second",
    # cache and encrypted channels
    "Who enters gets the last event right after success, with its own name, and no miss",
    "Without one the answer is `pusher:cache_miss`",
    "It is kept with nobody there",
    "Only what was published is kept",
    "A miss is told to webhooks once",
    "What is published is unreadable without the channel's secret",
    "`broadcast()` encrypts",
    "One event for an encrypted channel and another is refused",
    # users
    "Signing in is answered with text within text",
    "A refusal of the backend reaches `pusher:signin_error`; one of the gateway",
    "An id that is missing or no text is refused",
    "A connection belongs to one user for good",
    "An event for a user reaches all their connections",
    "Terminating closes all of a user's connections with 4009",
    "The route without an app in it",
    "A watchlist tells who comes online and who goes",
    "A watchlist over 100 is cut",
    "An app may ask of every connection to sign in",
    "Signing in and entering a private channel leave the connection standing",
    # HTTP API and webhooks
    "`events` and `batch_events` answer `{}`",
    "A batch is taken whole or not at all",
    "`socket_id` leaves that connection out, in batches too and wherever it is connected",
    "`info` is answered for each channel",
    "Occupied channels are listed, by prefix",
    "Users of a presence channel are listed once each",
    "What a channel does not have cannot be asked for: 400",
    "Counts are those of all gateways",
    "Every signed route refuses what is unsigned, wrong, older than 600 s, or another app's",
    "`body_md5` of an empty body",
    "A repeat under the same idempotency key",
    "App ids may be digits",
    "The `webhook()` helpers of both libraries accept what is sent",
    "A short absence is not told at all",
    "Receivers choose events and channels, and headers of their own",
    "What is refused comes again under its id",
)


@cache
def python_names(path: Path) -> frozenset[str]:
    """Names of the functions and classes in a module."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def exists(test: str) -> bool:
    """Whether `test` names a test, in the form that the page explains."""
    python = re.fullmatch(r"([\w/]+\.py)::(\w+)", test)
    if python is not None:
        path = ROOT / "tests" / python[1]
        return path.is_file() and python[2] in python_names(path)
    file, _, title = test.partition(": ")
    path = ROOT / "client-js" / "tests" / file
    return path.is_file() and f'"{title}"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("behaviour", "shown_by"), ROWS, ids=[row[0][:60] for row in ROWS])
def test_each_behaviour_names_tests_that_exist(behaviour: str, shown_by: str) -> None:
    tests = re.findall(r"`([^`]+)`", shown_by)

    assert tests, behaviour
    assert [test for test in tests if not exists(test)] == []


@pytest.mark.parametrize("beginning", REQUIRED)
def test_no_behaviour_is_missing(beginning: str) -> None:
    assert len([row for row in ROWS if row[0].startswith(beginning)]) == 1


def test_what_is_no_test_is_found_out() -> None:
    assert exists("test_protocol_doc.py::test_what_is_no_test_is_found_out")
    assert not exists("test_protocol_doc.py::test_that_nobody_wrote")
    assert not exists("gateway/test_elsewhere.py::test_a")
    assert not exists("node/users.test.ts: a title that nobody wrote")
