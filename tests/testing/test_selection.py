from __future__ import annotations

import pytest

from broadcaster.testing.selection import Selection


class Words(Selection[str]):
    """Takes words by their beginning."""

    def takes(self, word: str) -> bool:
        return self._selects(word.startswith)


@pytest.mark.parametrize(
    ("fake", "taken"),
    [
        (Words(), ["apple", "apricot", "pear"]),
        (Words().only("ap"), ["apple", "apricot"]),
        (Words().only("pe").only("app"), ["apple", "pear"]),
        (Words().except_("ap"), ["pear"]),
        (Words().only("ap").except_("apr", "x"), ["apple"]),
    ],
)
def test_a_fake_takes_what_it_is_told_to(fake: Words, taken: list[str]) -> None:
    assert [word for word in ("apple", "apricot", "pear") if fake.takes(word)] == taken
