"""Options of workers and of their pools, out of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.settings import Settings, WorkerSettings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
[worker]
grace = 60
backoff = [1, 2.5]

[workers.emails]
queue = ["transactional", "marketing:2"]
concurrency = 50

[workers.slow]
queue = "reports"
timeout = 0
"""


def load(folder: Path, text: str = FILE, **environ: str) -> Settings:
    (folder / "broadcaster.toml").write_text(text, encoding="utf-8")
    return load_settings(cwd=folder, environ=environ)


def test_a_pool_is_a_group_of_queues_with_options_row_40(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.worker == WorkerSettings(grace=60.0, backoff=(1.0, 2.5))
    assert settings.workers["emails"] == WorkerSettings(
        queue=("transactional", "marketing:2"), concurrency=50, grace=60.0, backoff=(1.0, 2.5)
    )
    assert settings.workers["slow"].queue == ("reports",)
    assert settings.workers["slow"].timeout == 0


def test_pools_and_options_may_stand_in_the_environment(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "",
        BROADCASTER_WORKERS='{"emails": {"queue": ["a"], "max_jobs": 5}}',
        BROADCASTER_WORKER__BACKOFF="1, 5,30",
        BROADCASTER_WORKER__STOP_WHEN_EMPTY="yes",
    )

    assert settings.worker.backoff == (1.0, 5.0, 30.0)
    assert settings.workers["emails"].max_jobs == 5
    assert settings.workers["emails"].stop_when_empty


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[workers.emails]\nqueues = ['a']", "has no option 'queues'.*mean 'queue'"),
        ("[workers.emails]\nconcurrency = 0", "from 1 to 1,000, not '0'"),
        ("[workers]\nemails = 3", "must be a table"),
        ("[workers.'a b']\ntries = 3", "a name is 1 to 64 letters"),
        ("workers = 3", "must be tables"),
        ("[worker]\nbackoff = ['soon']", "must be a number"),
    ],
)
def test_wrong_pools_are_explained(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load(tmp_path, text)
