"""Row 16: named queue connections, out of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.settings import ConnectionSettings, QueueSettings, Settings, load_settings
from broadcaster.settings_queues import served_connection

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[queue]
driver = "failover"
connections = ["main", "spare"]
lease = 20

[queues.main]

[queues.spare]
redis_url = "redis://10.0.0.2:6379/0"
default = "spilled"
lease = 60
after_commit = true
"""


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "broadcaster.toml").write_text(text, encoding="utf-8")
    return load_settings(cwd=folder, environ=environ)


def test_row_16_connections_have_names_and_options_of_their_own(tmp_path: Path) -> None:
    settings = load(tmp_path, FILE)

    assert settings.queue.connections == ("main", "spare")
    assert settings.queues["main"] == ConnectionSettings(lease=20.0)
    assert settings.queues["spare"] == ConnectionSettings(
        redis_url="redis://10.0.0.2:6379/0", default="spilled", lease=60.0, after_commit=True
    )


def test_connections_may_stand_in_the_environment(tmp_path: Path) -> None:
    settings = load(tmp_path, "", BROADCASTER_QUEUES='{"long": {"lease": 300}}')

    assert settings.queues["long"].lease == 300


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("queues = 7", r"queues \(from broadcaster.toml\) must be tables"),
        ("[queues]\nlong = 7", "queues.*long.* in broadcaster.toml must be a table"),
        ('[queues."a b"]', "a name is 1 to 64 letters"),
        ("[queues.default]", r"which is the one of \[queue\]"),
        ("[queues.long]\nlaese = 3", "no option 'laese' - did you mean 'lease'"),
        ("[queues.long]\nlease = 'x'", "queue.lease must be a number"),
        (
            "[queues.long]\nredis_url = 'http://secret'",
            "redis_url must begin with.*the value given",
        ),
        ("[queue]\ndriver = 'failover'", "queue.connections must name"),
        (
            "[queue]\ndriver = 'failover'\nconnections = ['mian']\n[queues.main]",
            "and there is no .* - did you mean 'main'",
        ),
        (
            "[queues]\na = {driver = 'failover', connections = ['b']}\n"  # noqa: ISC004 - one text
            "b = {driver = 'failover', connections = ['a']}",
            "which falls back itself",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load(tmp_path, text)


def test_the_number_of_connections_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="100 are the most"):
        load(tmp_path, "\n".join(f"[queues.c{number}]" for number in range(101)))


@pytest.mark.parametrize(
    ("name", "served"), [("", "main"), ("default", "main"), ("main", "main"), ("spare", "spare")]
)
def test_a_worker_of_a_connection_that_falls_over_serves_the_preferred_one(
    tmp_path: Path, name: str, served: str
) -> None:
    settings = load(tmp_path, FILE)

    found, connection = served_connection(name, settings.queue, settings.queues)

    assert (found, connection.driver) == (served, "redis")


def test_a_worker_of_the_default_connection_serves_the_queue_settings() -> None:
    name, connection = served_connection("", QueueSettings(lease=7, default="jobs"), {})

    assert (name, connection.lease, connection.default) == ("default", 7, "jobs")


def test_a_worker_has_nothing_to_do_where_no_job_waits(tmp_path: Path) -> None:
    settings = load(tmp_path, "[queues.off]\ndriver = 'null'")

    with pytest.raises(ConfigurationError, match="queue connection off is 'null'"):
        served_connection("off", settings.queue, settings.queues)
    with pytest.raises(ConfigurationError, match="did you mean 'off'"):
        served_connection("of", settings.queue, settings.queues)
