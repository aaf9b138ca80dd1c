"""Groups of workers to be kept, out of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from broadcaster.settings_supervise import SupervisorSettings

FILE = """
[worker]
grace = 60

[supervisors.main]
connection = "fast"
queue = ["critical", "high", "default"]
balance = "auto"
min_processes = 1
max_processes = 10
shift = 2
cooldown = 3
memory = 128
tries = 3
timeout = 90
nice = -5

[supervisors.long]
queue = "exports"
balance = "off"
processes = 3
"""


def load(folder: Path, text: str) -> Mapping[str, SupervisorSettings]:
    (folder / "broadcaster.toml").write_text(text, encoding="utf-8")
    return load_settings(cwd=folder, environ={}).supervisors


def test_row_56_supervisors_are_tables_with_the_options_of_workers_and_their_own(
    tmp_path: Path,
) -> None:
    found = load(tmp_path, FILE)

    main, long = found["main"], found["long"]
    assert (main.queue, main.balance) == (("critical", "high", "default"), "auto")
    assert (main.min_processes, main.max_processes, main.shift) == (1, 10, 2)
    assert (main.cooldown, main.memory, main.tries, main.timeout) == (3.0, 128, 3, 90.0)
    assert (main.nice, main.grace, main.connection) == (-5, 60.0, "fast")
    assert (long.queue, long.balance, long.processes) == (("exports",), "off", 3)


def test_row_56_a_block_of_horizon_is_understood_with_its_keys_in_snake_case(
    tmp_path: Path,
) -> None:
    text = """
    [supervisors.supervisor-1]
    connection = "default"
    queue = ["critical", "high", "default"]
    balance = "auto"
    max_processes = 10
    min_processes = 1
    balance_max_shift = 1
    balance_cooldown = 4
    memory = 128
    tries = 3
    timeout = 90
    nice = 0
    """

    found = load(tmp_path, text)["supervisor-1"]

    assert (found.shift, found.cooldown, found.max_processes) == (1, 4.0, 10)


HORIZON = """
[supervisors.supervisor-1]
queue = ["critical", "high", "default"]
tries = 3
balance_max_shift = 1

[supervisors.supervisor-1.environments.production]
max_processes = 10
shift = 2

[supervisors.supervisor-1.environments.local]
queue = ["critical", "high", "default", "low"]
balance = "simple"
processes = 4
tries = 1

[supervisors.long-running.environments.production]
connection = "long"
queue = ["exports", "imports"]
balance = "simple"
processes = 3
"""


def test_row_56_environments_say_what_differs_and_what_is_there(tmp_path: Path) -> None:
    everywhere = '[supervisors.mail]\nqueue = ["mail"]\n'
    found = {
        name: load(tmp_path, f"environment = '{name}'\n{HORIZON}{everywhere}")
        for name in ("production", "local", "staging", "")
    }

    assert {name: sorted(tables) for name, tables in found.items()} == {
        "production": ["long-running", "mail", "supervisor-1"],
        "local": ["mail", "supervisor-1"],
        "staging": ["mail"],
        "": ["mail"],
    }
    one, two = (found[name]["supervisor-1"] for name in ("production", "local"))
    assert (one.max_processes, one.shift, one.tries, one.balance) == (10, 2, 3, "auto")
    assert (two.queue[3], two.processes, two.tries, two.balance) == ("low", 4, 1, "simple")
    assert (two.shift, found["production"]["long-running"].queue) == (1, ("exports", "imports"))


def test_tables_of_other_environments_are_checked_too(tmp_path: Path) -> None:
    wrong = HORIZON + "[supervisors.supervisor-1.environments.staging]\nbalence = 'off'\n"

    with pytest.raises(ConfigurationError, match=r"environments.*staging.*has no option 'balence'"):
        load(tmp_path, wrong)


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        ("environments = 3", "environments.* must be tables, one for each environment"),
        ("environments = {production = 3}", "environments.*production.* must be a table"),
        ("environments = {'a b' = {}}", "must be a table, named in letters"),
        ("environments = {a = {environments = {}}}", "has no option 'environments'"),
        ("environments = {a = {}}\nqueue = []", "must name its queues"),
    ],
)
def test_what_is_wrong_with_environments_is_named(tmp_path: Path, inner: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load(tmp_path, f"[supervisors.x]\n{inner}")


def test_environments_are_known_by_name(tmp_path: Path) -> None:
    (tmp_path / "broadcaster.toml").write_text(HORIZON, encoding="utf-8")

    said = load_settings(cwd=tmp_path, environ={"BROADCASTER_ENVIRONMENT": "production"})

    assert (said.environment, said.environments) == (
        "production",
        frozenset({"production", "local"}),
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("max_proceses = 3", "has no option 'max_proceses' - did you mean 'max_processes'"),
        ("once = true", "has no option 'once'"),
        ('balance = "best"', "must be one of auto, simple, off"),
        ("shift = 1\nbalance_max_shift = 2", "says shift twice, as balance_max_shift too"),
        ("cooldown = 0", "cooldown must be a number from 0.5 to 3600"),
        ("shift = 1.5", "shift must be a whole number"),
        ("shift = true", "shift must be a whole number"),
        ("nice = 20", "nice must be a whole number from -20 to 19"),
        ("max_processes = 1", "2 queues need 2 processes or more, and max_processes is 1"),
        ("max_processes = 9\nmin_slots = 20", "min_slots is 20, and concurrency only 10"),
        ("max_processes = 9\nqueue = []", "must name its queues"),
    ],
)
def test_what_is_wrong_names_the_table(tmp_path: Path, table: str, problem: str) -> None:
    queues = "" if "queue =" in table else 'queue = ["a", "b"]\n'

    with pytest.raises(ConfigurationError, match=problem):
        load(tmp_path, f"[supervisors.x]\n{queues}{table}")
