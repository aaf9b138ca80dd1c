"""The table of close codes, and the ranges that make clients react."""

from __future__ import annotations

import pytest

from broadcaster.protocol import close_codes
from broadcaster.protocol.close_codes import CLOSE_CODES, CloseCode, Reaction, reaction_to


def test_the_table_holds_every_code_of_the_module_once() -> None:
    named = {value for value in vars(close_codes).values() if isinstance(value, CloseCode)}

    assert named == set(CLOSE_CODES)
    assert len({code.name for code in CLOSE_CODES}) == len(CLOSE_CODES)


@pytest.mark.parametrize(
    ("code", "reaction"),
    [
        (4000, Reaction.GIVE_UP),
        (4001, Reaction.GIVE_UP),
        (4099, Reaction.GIVE_UP),
        (4100, Reaction.RETRY_LATER),
        (4199, Reaction.RETRY_LATER),
        (4200, Reaction.RETRY_NOW),
        (4299, Reaction.RETRY_NOW),
        (4300, Reaction.GIVE_UP),
        (4301, Reaction.GIVE_UP),
        (1000, Reaction.RETRY_LATER),
        (1006, Reaction.RETRY_LATER),
        (1009, Reaction.RETRY_LATER),
    ],
)
def test_the_range_decides_what_a_client_does(code: int, reaction: Reaction) -> None:
    assert reaction_to(code) is reaction


@pytest.mark.parametrize("code", CLOSE_CODES, ids=lambda code: code.name)
def test_a_message_fits_into_a_close_frame(code: CloseCode) -> None:
    assert code.message.isascii()
    assert len(code.message) <= 123
    assert code.reaction is reaction_to(code.code)


def test_what_may_pass_never_makes_a_client_give_up() -> None:
    passing = {
        close_codes.OVER_CAPACITY,
        close_codes.SLOW_CONSUMER,
        close_codes.TOO_MUCH,
        close_codes.RECONNECT,
        close_codes.RENEW,
        close_codes.PONG_MISSING,
    }

    assert {code for code in CLOSE_CODES if code.reaction is not Reaction.GIVE_UP} == passing


def test_codes_of_error_events_are_no_close_codes() -> None:
    assert close_codes.CLIENT_EVENT_REFUSED not in {code.code for code in CLOSE_CODES}
    # 4200 as an error's code means "said, and the connection stays".
    assert close_codes.RECONNECT.code == close_codes.INVALID_MESSAGE
