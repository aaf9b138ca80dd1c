from __future__ import annotations

from broadcaster.cli.table import Cell, Column, Style, cut, plain, share, table


def column(title: str, *texts: str, keep: int = 9, right: bool = False) -> Column:
    return Column(title, [Cell(text) for text in texts], keep, right=right)


def test_parts_share_the_lines_and_the_first_named_is_cut_first() -> None:
    parts = [["a"] * 5, ["b"] * 5, ["c"]]

    assert share(parts, 0, [1, 0]) == parts
    assert share(parts, 11, [1, 0]) == parts
    assert share(parts, 10, [1, 0])[1] == ["b", "b", "b", "... 2 lines more"]
    assert share(parts, 8, [1, 0]) == [
        ["a", "a", "a", "... 2 lines more"],
        ["b", "b", "... 3 lines more"],
        ["c"],
    ]


def test_text_begins_and_numbers_end_in_line() -> None:
    columns = [column("queue", "a", "longest"), column("ready", "1", "1,000", right=True)]

    assert table(columns, Style()) == [
        "queue    ready",
        "a            1",
        "longest  1,000",
    ]


def test_columns_of_little_weight_give_way_in_a_narrow_terminal() -> None:
    columns = [
        column("name", "mail"),
        column("host", "a-long-host", keep=2),
        column("pid", "77", keep=5),
        column("state", "running", keep=2),
    ]

    assert table(columns, Style(width=33)) == [
        "name  host         pid  state",
        "mail  a-long-host  77   running",
    ]
    assert table(columns, Style(width=25)) == ["name  host         pid", "mail  a-long-host  77"]
    assert table(columns, Style(width=12)) == ["name  pid", "mail  77"]
    assert table(columns, Style(width=2)) == ["name", "mail"], "what is needed always stays"


def test_a_column_without_a_title_is_there_when_it_says_something() -> None:
    assert table([column("a", "x"), column("", "")], Style()) == ["a", "x"]
    assert table([column("a", "x"), column("", "paused")], Style()) == ["a", "x  paused"]


def test_colours_change_no_width() -> None:
    columns = [Column("n", [Cell("1", "red"), Cell("22")], right=True)]

    assert table(columns, Style(colour=True)) == [
        " \x1b[2mn\x1b[0m",
        " \x1b[31m1\x1b[0m",
        "22",
    ]


def test_what_is_cut_shows_it() -> None:
    assert cut("abcdef", 4) == "abc~"
    assert cut("abcd", 4) == cut("abcd", 0) == "abcd"


def test_what_cannot_be_seen_or_turns_text_round_is_not_shown() -> None:
    evil = "\n\r\u00ad\u061c\u200b\u200d\u2028\u2029\u202e\u2066\ufeff\U000e0041\ud800"

    assert plain(evil) == "?" * len(evil)
    assert plain("a b\u00a0ö漢🙂") == "a b\u00a0ö漢🙂"


def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    assert plain("a\x1b[2Jb\u202ec\x9b") == "a?[2Jb?c?"
