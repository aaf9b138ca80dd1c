"""What `queue status` shows, as a picture (row 44)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broadcaster.cli.queue_screen import shown_seconds, status_lines
from broadcaster.cli.table import Style
from broadcaster.contracts.fleet import CurrentJob, WorkerRecord
from broadcaster.contracts.queue_admin import Pause, Rate, Runtime
from broadcaster.supervisor.backlog import Backlog

NOW = 1_000_000.0
QUEUES = [
    Backlog(
        queue="mail",
        ready=1_200,
        delayed=3,
        held=2,
        failed=7,
        oldest=42.0,
        wait=75.0,
        workers=1,
        rates=[Rate(60, 600, 550, 0), Rate(300, 300, 290, 0), Rate(900, 100, 99, 0)],
        runtimes=[Runtime("shop.Mail", 5_000, 0.25, 1.5)],
    ),
    Backlog(queue="video", pause=Pause(NOW - 60, NOW + 600, "ada"), workers=1),
]
WORKERS = [
    WorkerRecord(
        id="w1",
        name="mailer",
        host="box",
        pid=77,
        queues=("mail", "video"),
        slots=4,
        running=2,
        current=(CurrentJob("a" * 32, "shop.Mail", "mail", 2.0),),
        memory=51_000_000,
        uptime=90.0,
        done=12_345,
        failed=1,
        lost=2,
        seen_at=NOW - 1,
    )
]


def test_row_44_the_screen_shows_queues_classes_and_workers_in_line() -> None:
    assert status_lines(QUEUES, WORKERS, NOW) == [
        "2 queues, 1,200 ready, 3 delayed, 2 held, 7 failed, 1 worker, 2 of 4 slots busy",
        "",
        "queue  ready  delayed  held  failed  oldest   wait  in/min 1 5 15  done/min 1 5 15",
        "mail   1,200        3     2       7     42s  1m15s    600 300 100       550 290 99",
        f"video      0        0     0       0       -      -{'-':>15}{'-':>17}  paused by ada, 10m left",
        "",
        "job        queue  ended    p50  p95",
        "shop.Mail  mail   5,000  250ms   2s",
        "",
        "worker  host  pid  slots  memory     up    done  failed  lost    seen  state    queues",
        "mailer  box    77  2/4     51 MB  1m30s  12,345       1     2  1s ago  running  mail,video",
        f"  shop.Mail of mail for 2s  {'a' * 32}",
        "  and 1 more",
    ]


@pytest.mark.parametrize("width", [150, 100, 80, 60])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    lines = status_lines(QUEUES, WORKERS, NOW, Style(width=width, symbols=True))

    assert max(len(line) for line in lines) <= width
    assert any("paused by ada" in line for line in lines)
    assert any("42s" in line for line in lines)


def test_in_a_low_terminal_classes_give_way_first_then_queues_and_workers_are_seen() -> None:
    slow = [Runtime(f"shop.Job{number}", 5, 0.25, 1.5) for number in range(5)]
    some = [Backlog(queue=f"queue{number}", workers=1, runtimes=slow) for number in range(6)]
    busy = [replace(WORKERS[0], name=f"mailer{number}") for number in range(4)]

    middle = status_lines(some, busy, NOW, Style(width=80, height=30), ["shop  running"])
    low = status_lines(some, busy, NOW, Style(width=80, height=22))

    assert len(middle) == 30
    assert sum(line.startswith("mailer") for line in middle) == 4
    assert sum(line.startswith("queue") for line in middle) == 1 + 6
    assert "... 28 lines more" in middle
    assert middle[-2:] == ["", "shop  running"]
    assert len(low) == 22
    assert sum(line.startswith("mailer") for line in low) == 4
    assert len(status_lines(some, busy, NOW)) > 40


def test_a_low_terminal_shows_the_queues_where_jobs_wait_and_cuts_supervisors_before() -> None:
    waiting = [Backlog(queue=f"queue{number}", workers=1, ready=number % 4) for number in range(6)]
    supervised = ["shop  running", "  pool  queue", *("  main  queue" for _ in range(6))]

    enough = status_lines(waiting, WORKERS, NOW, Style(height=20), supervised)
    low = status_lines(waiting, WORKERS, NOW, Style(height=17), supervised)

    assert len(enough) == 20
    assert [line[:6] for line in enough if line.startswith("queue")][1:] == [
        f"queue{number}" for number in range(6)
    ]
    assert enough[-1].endswith("lines more")
    assert len(low) == 17
    assert [line[:6] for line in low if line.startswith("queue")][1:3] == ["queue3", "queue2"]


def test_a_terminal_gets_colours_where_something_is_wrong() -> None:
    text = "\n".join(status_lines(QUEUES, WORKERS, NOW, Style(colour=True, symbols=True)))

    assert "\x1b[31m7\x1b[0m" in text, "failed jobs in red"
    assert "\x1b[33m42s\x1b[0m" in text, "a late job in yellow"
    assert "\x1b[36m▮▮▯▯ 2/4\x1b[0m" in text
    assert "\x1b" not in "\n".join(status_lines(QUEUES, WORKERS, NOW))


def test_queues_that_nobody_serves_are_named() -> None:
    alone, idle = Backlog(queue="alone", ready=1), Backlog(queue="idle")

    lines = status_lines([alone, idle], [], NOW, Style(colour=True))

    assert "\x1b[31mno worker\x1b[0m" in lines[3]
    assert "\x1b[2mno worker\x1b[0m" in lines[4]
    assert "start one with `broadcaster work`" in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0s"),
        (0.0004, "<1ms"),
        (0.25, "250ms"),
        (42.4, "42s"),
        (59.6, "1m00s"),
        (75.0, "1m15s"),
        (900.0, "15m"),
        (5_400.0, "1.5h"),
        (400_000.0, "5d"),
    ],
)
def test_lengths_of_time_are_short(seconds: float | None, text: str) -> None:
    assert shown_seconds(seconds) == text
