"""Every option of ``broadcaster work``, as a flag and as a setting (row 41)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click
import pytest

from broadcaster.cli.work import chosen_settings, work
from broadcaster.errors import ConfigurationError
from broadcaster.settings import Settings, WorkerSettings, load_settings
from broadcaster.wiring.worker_options import with_queues, worker_options

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.worker.options import WorkerOptions

FLAGS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--queue", "mail,default"), {"queues": ("mail", "default"), "weights": None}),
    (("--queue", "mail:3,default"), {"weights": {"mail": 3, "default": 1}}),
    (("--queue", "a,b", "--weights"), {"weights": {"a": 1, "b": 1}}),
    (("--tries", "0"), {"tries": 0}),
    (("--tries", "7"), {"tries": 7}),
    (("--timeout", "0"), {"timeout": 0.0}),
    (("--timeout", "2.5"), {"timeout": 2.5}),
    (("--backoff", "1,5,30"), {"backoff": (1.0, 5.0, 30.0)}),
    (("--max-jobs", "5"), {"max_jobs": 5}),
    (("--max-time", "60"), {"max_time": 60.0}),
    (("--memory", "256"), {"memory": 256_000_000}),
    (("--memory", "0"), {"memory": None}),
    (("--max-jobs", "0", "--max-time", "0"), {"max_jobs": None, "max_time": None}),
    (("--max-away", "30"), {"max_away": 30.0}),
    (("--once",), {"max_jobs": 1, "stop_when_empty": True}),
    (("--stop-when-empty",), {"stop_when_empty": True}),
    (("--stop-when-empty-for", "9"), {"stop_when_empty_for": 9.0}),
    (("--rest", "0.5"), {"rest": 0.5}),
    (("--sleep", "0.5"), {"sleep": 0.5}),
    (("--name", "mailer"), {"label": "mailer"}),
    (("--force",), {"force": True}),
    (("--concurrency", "50"), {"concurrency": 50}),
    (("--reserve-ahead", "0"), {"reserve_ahead": 0}),
    (("--jobs-per-child", "1"), {"jobs_per_child": 1}),
    (("--grace", "90"), {"grace": 90.0}),
    (("--connection", "spare"), {"connection": "spare", "lease": 7.0}),
]
FILE = '[queues.spare]\nredis_url = "redis://127.0.0.1:2"\nlease = 7\n'
# Not for the worker itself but for the command around it.
AROUND = {"processes", "health_port", "health_socket", "json"}


def given(*args: str) -> dict[str, Any]:
    context = work.make_context("work", list(args))
    ours = {field.name for field in dataclasses.fields(WorkerSettings)}
    return {
        name: value for name, value in context.params.items() if name in ours and value is not None
    }


def options(folder: Path, *args: str, pool: str = "") -> WorkerOptions:
    said = given(*args)
    settings = load(folder, {f"worker.{name}": value for name, value in said.items()})
    return worker_options(settings, chosen_settings(settings, pool, said), pool=pool)


def load(folder: Path, said: dict[str, Any] | None = None, text: str = FILE) -> Settings:
    file = folder / "broadcaster.toml"
    if not file.exists():
        file.write_text(text, encoding="utf-8")
    return load_settings(said, cwd=folder, environ={"REDIS_URL": "redis://127.0.0.1:1"})


@pytest.mark.parametrize(("args", "expected"), FLAGS)
def test_each_flag_reaches_the_worker_row_41(
    tmp_path: Path, args: tuple[str, ...], expected: dict[str, Any]
) -> None:
    made = options(tmp_path, *args)

    assert {name: getattr(made, name) for name in expected} == expected


def test_each_flag_is_a_setting_of_the_same_name_and_the_other_way_round() -> None:
    flags = {each.name for each in work.params if isinstance(each, click.Option)}
    ours = {field.name for field in dataclasses.fields(WorkerSettings)}

    assert flags - {"pool", "log_level", "tethered", "all_queues", "with_schedule"} == ours
    tested = {args[0].removeprefix("--").replace("-", "_") for args, _ in FLAGS}
    tested |= {"weights"}
    assert tested | AROUND == ours


def test_the_command_line_wins_over_the_pool_and_the_pool_over_the_rest(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(
        "[worker]\ntries = 2\ngrace = 5\nrest = 1\n[workers.emails]\n"
        "queue = ['a', 'b']\ntries = 3\ngrace = 6\n",
        encoding="utf-8",
    )

    made = options(tmp_path, "--tries", "4", pool="emails")

    assert (made.tries, made.grace, made.rest) == (4, 6.0, 1.0)
    assert (made.queues, made.pool) == (("a", "b"), "emails")


def test_0_takes_back_what_the_settings_limit_row_41(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(
        "[worker]\nmemory = 128\nmax_jobs = 9\nforce = true\n[workers.emails]\nqueue = ['a']\nmemory = 0\n",
        encoding="utf-8",
    )

    assert options(tmp_path, "--max-jobs", "0").max_jobs is None
    assert (options(tmp_path).force, options(tmp_path, "--no-force").force) == (True, False)
    assert options(tmp_path).memory == 128_000_000
    assert options(tmp_path, pool="emails").memory is None


def test_without_options_it_serves_broadcasts_and_the_default_queue(tmp_path: Path) -> None:
    made = options(tmp_path)

    assert made.queues == ("broadcasts", "default")
    assert made.ordered == {"broadcasts"}
    assert (made.max_jobs, made.max_time, made.memory, made.weights) == (None, None, None, None)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--queue", ","), "worker.queue must name at least one, not ','"),
        (("--queue", "mail,päy"), r"worker.queue: 'p\xe4y' is no name of a queue"),
        (("--queue", "a b"), "worker.queue: 'a b' is no name of a queue"),
        (("--queue", ":3"), "worker.queue: ':3' has an empty name"),
    ],
)
def test_queues_that_there_cannot_be_are_refused_before_the_worker_starts_row_41(
    tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options(tmp_path, *args)

    assert said in caught.value.message


def test_queues_that_jobs_name_come_behind_those_that_are_served(tmp_path: Path) -> None:
    plain, weighed = options(tmp_path), options(tmp_path, "--weights")

    assert with_queues(plain, ["mail", "default", "broadcaster.facts"]).queues == (
        *("broadcasts", "default", "mail"),
    )
    assert with_queues(plain, ["mail"]).weights is None
    assert with_queues(weighed, ["mail"]).weights == {"broadcasts": 1, "default": 1, "mail": 1}


def test_a_connection_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no queue connection is called 'spear'"):
        options(tmp_path, "--connection", "spear")
