from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from broadcaster import current
from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.jobs.job import Job
from broadcaster.settings import load_settings
from broadcaster.wiring.worker import (
    _warn_of_missing_services,
    import_jobs,
    open_worker,
)
from broadcaster.worker.options import ExitReason, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    current.reset()


def settings(tmp_path: Path, **overrides: object) -> Settings:
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_settings(given, cwd=tmp_path, environ={})


def test_modules_are_found_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "jobs_of_this_test.py").write_text("loaded = True", encoding="utf-8")

    import_jobs(["jobs_of_this_test"])

    assert sys.modules["jobs_of_this_test"].loaded


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.jobs", "json.no_such_part"])
def test_a_module_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no module is called '{name}'"):
        import_jobs([name])


def test_what_a_module_lacks_itself_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "broken_jobs.py").write_text("import no_such_library", encoding="utf-8")

    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        import_jobs(["broken_jobs"])


async def test_without_a_server_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="REDIS_URL"):
        open_worker(settings(tmp_path), WorkerOptions())


async def test_there_is_nothing_to_do_for_a_sync_queue(tmp_path: Path) -> None:
    given = settings(tmp_path, redis_url="redis://127.0.0.1:1", queue__driver="sync")

    with pytest.raises(ConfigurationError, match="nothing for a worker to do"):
        open_worker(given, WorkerOptions())


@pytest.mark.redis
async def test_an_opened_worker_works_for_the_current_application(
    tmp_path: Path, redis_url: str, prefix: str
) -> None:
    given = settings(tmp_path, redis_url=redis_url, prefix=prefix, broadcast__driver="log")

    opened = open_worker(given, WorkerOptions(stop_when_empty=True))
    try:
        assert await opened.worker.run() is ExitReason.EMPTY
        assert current.application().default_queue == "default"
        assert opened.runner.busy_threads == 0
    finally:
        await opened.aclose()


class Nobody:
    """Is provided by nobody."""


class Lonely(Job, name="wiring.Lonely"):
    def handle(self, service: Nobody) -> None: ...


def test_a_worker_says_at_its_start_which_services_are_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _warn_of_missing_services()

    assert "wiring.Lonely.handle takes service: Nobody, which nobody provides" in caplog.text
