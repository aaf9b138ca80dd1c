"""Tables of supervisors become plans, and are read again over connections that stay open."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from broadcaster.contracts.supervision import SupervisorStatus
from broadcaster.drivers.redis.supervisors import RedisSupervisorBoard
from broadcaster.errors import ConfigurationError
from broadcaster.settings import load_settings
from broadcaster.supervisor.reloading import actions
from broadcaster.wiring import supervise
from broadcaster.wiring.operations import Operations, open_operations
from broadcaster.wiring.supervise import SupervisorTables, open_supervisor
from tests.cli.surroundings import surround

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from broadcaster.drivers.redis.client import RedisClients
    from broadcaster.settings import Settings
    from broadcaster.supervisor.supervisor import PoolPlan

pytestmark = pytest.mark.redis

MAIN = "[supervisors.main]\nqueue = ['high', 'default']\nmax_processes = 2\n"


@pytest.fixture
def write(
    redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Write the settings."""
    surround(tmp_path, monkeypatch)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("BROADCASTER_PREFIX", prefix)

    def write(text: str) -> None:
        (tmp_path / "broadcaster.toml").write_text(text, encoding="utf-8")

    write(MAIN)
    return write


@pytest.fixture
def tables() -> Iterator[SupervisorTables]:
    made = SupervisorTables(["shop.jobs"])
    yield made
    made.close()


class Watched:
    """Counts connections that are opened and closed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []

    def open(self, settings: Settings, connection: str = "") -> Operations:
        made = open_operations(settings, connection)
        self.opened.append(made.connection)
        return made

    def close(self, operations: Operations) -> None:
        self.closed.append(operations.connection)
        operations.clients.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setattr(supervise, "open_operations", made.open)
    monkeypatch.setattr(Operations, "close", closing(made))
    return made


def closing(watched: Watched) -> Callable[[Operations], None]:
    def close(self: Operations) -> None:
        watched.close(self)

    return close


def became(old: Sequence[PoolPlan], new: Sequence[PoolPlan]) -> dict[str, str]:
    before, after = ({plan.name: plan.made for plan in plans} for plans in (old, new))
    return dict(actions(before, after, renew=False))


@pytest.mark.parametrize(
    ("text", "action"),
    [
        pytest.param(MAIN + "# a remark\n", "keep", id="a remark"),
        pytest.param("debug = true\n" + MAIN, "keep", id="what is not of it"),
        pytest.param(MAIN.replace("2", "5"), "adjust", id="how many there are"),
        pytest.param(MAIN + "cooldown = 9\nclear_within = 9\n", "adjust", id="how they change"),
        pytest.param(MAIN.replace("'high', ", ""), "adjust", id="its queues, one process each"),
        pytest.param(MAIN + "tries = 7\n", "renew", id="its workers"),
        pytest.param(MAIN + "nice = 3\n", "renew", id="their priority"),
        pytest.param("[worker]\ntries = 7\n" + MAIN, "renew", id="what it takes from [worker]"),
        pytest.param("[queue]\ndefault = 'mail'\n" + MAIN, "renew", id="its connection"),
        pytest.param(MAIN + "balance = 'off'\n", "renew", id="who serves what"),
        pytest.param(MAIN.replace("main", "other"), "drain", id="its name"),
    ],
)
def test_row_56_what_a_change_of_the_settings_does_to_a_pool(
    write: Callable[[str], None], tables: SupervisorTables, text: str, action: str
) -> None:
    old = tables.read()
    write(text)

    assert became(old, tables.read())["main"] == action


@pytest.mark.usefixtures("write")
def test_the_same_connections_are_used_again(tables: SupervisorTables, watched: Watched) -> None:
    for _ in range(3):
        tables.read()

    assert (watched.opened, watched.closed) == (["default"], [])


def test_a_connection_that_is_not_used_any_more_is_closed_when_nobody_can_use_it(
    write: Callable[[str], None], tables: SupervisorTables, watched: Watched
) -> None:
    far = "[queues.far]\n" + MAIN + "connection = 'far'\n"
    tables.read()
    write(far)
    tables.read()
    assert (watched.opened, watched.closed) == (["default", "far"], []), "it may be looking now"

    tables.read()

    assert watched.closed == ["default"]
    tables.close()
    tables.close()
    assert watched.closed == ["default", "far"]


def test_settings_that_are_wrong_leave_nothing_open(
    write: Callable[[str], None], tables: SupervisorTables, watched: Watched
) -> None:
    tables.read()
    write(
        "[queues.far]\n[queues.celery]\ndriver = 'sync'\n"
        "[supervisors.far]\nconnection = 'far'\nqueue = ['a']\n"
        "[supervisors.main]\nconnection = 'celery'\nqueue = ['a']\n"
    )

    with pytest.raises(ConfigurationError, match="sync"):
        tables.read()

    assert watched.opened in (["default", "far"], ["default"])
    assert watched.closed == watched.opened[1:]


@pytest.mark.parametrize("text", ["", "[supervisors.other]\nqueue = ['a']\n", "[supervisors"])
def test_a_table_that_is_asked_for_by_name_must_stay(
    write: Callable[[str], None], text: str
) -> None:
    tables = SupervisorTables(only=["main"])
    tables.read()
    write(text)

    with pytest.raises(ConfigurationError):
        tables.read()

    tables.close()


ENVIRONMENTS = MAIN + "[supervisors.main.environments.production]\nmax_processes = 5\n"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ("prodution", r"is for the environment 'prodution'.*did you mean 'production'"),
        ("", "nothing is to be supervised.*which environment this is, of production"),
    ],
)
def test_row_56_an_environment_that_no_table_is_for_is_refused(
    write: Callable[[str], None], environment: str, problem: str
) -> None:
    write(ENVIRONMENTS)

    with pytest.raises(ConfigurationError, match=problem):
        SupervisorTables(load=partial(load_settings, {"environment": environment})).read()


def test_row_56_the_environment_of_the_command_line_holds_when_tables_are_read_again(
    write: Callable[[str], None],
) -> None:
    write(ENVIRONMENTS)
    load = partial(load_settings, {"environment": "production"})
    supervisor, tables = open_supervisor(load(), load=load)

    (plan,) = tables.read()

    assert plan.rules.max_processes == 5
    (pool,) = supervisor.status().pools
    assert pool.name == "main"
    tables.close()


@pytest.mark.usefixtures("write")
def test_the_status_is_told_where_the_settings_say(
    tables: SupervisorTables, clients: RedisClients
) -> None:
    tables.plans(load_settings())

    tables.tell(SupervisorStatus(name="box:1", read_at=5.0, refused="no"))

    (found,) = RedisSupervisorBoard(clients).read()
    assert (found.read_at, found.refused) == (5.0, "no")
