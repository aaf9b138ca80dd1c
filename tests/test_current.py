"""The current application: configured by hand, by itself, and anew in a forked child."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

import broadcaster
from broadcaster import current
from broadcaster.contracts.apps import App, AppSource
from broadcaster.errors import ConfigurationError, NotConfigured
from broadcaster.settings import Settings
from broadcaster.wiring.backend import Backend
from tests.events.recording import RecordingApplication

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BROADCAST", "REVERB_", "PUSHER_", "SOKETI_", "REDIS_", "QUEUE_")):
            monkeypatch.delenv(name)
    current.reset()
    yield
    current.reset()


def test_configure_sets_the_application() -> None:
    application = broadcaster.configure(Settings(prefix="mine"))

    assert current.application() is application
    assert isinstance(application, Backend)
    assert application.settings.prefix == "mine"


def test_the_first_use_configures_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADCASTER_APP_ID", "7")
    monkeypatch.setenv("BROADCASTER_APP_KEY", "k")
    monkeypatch.setenv("BROADCASTER_APP_SECRET", "s")

    assert current.application().app_id == "7"


def test_what_is_missing_is_said_by_the_first_verb_that_needs_it() -> None:
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ID") as caught:
        broadcaster.on("a").send()

    assert caught.value.exit_code == 78


def test_a_missing_server_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ID", "KEY", "SECRET"):
        monkeypatch.setenv(f"BROADCASTER_APP_{name}", "1")

    with pytest.raises(NotConfigured, match="REDIS_URL"):
        broadcaster.on("a").send()


def test_a_wrong_setting_is_an_error_and_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROADCASTER_GATEWAY__PORT", "many")
    with pytest.raises(ConfigurationError, match=r"gateway\.port"):
        current.application()

    monkeypatch.delenv("BROADCASTER_GATEWAY__PORT")
    assert current.application()


def test_replacing_an_application_closes_the_old_one() -> None:
    old = RecordingApplication()
    current.use(old)

    broadcaster.configure(Settings())

    assert old.closed == 1


def test_threads_get_one_application() -> None:
    seen: list[object] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait(5)
        seen.append(current.application())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1


def test_a_forked_child_gets_an_application_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that write to one connection would mix their commands."""
    parents = broadcaster.configure(Settings(prefix="mine"))
    monkeypatch.setattr(os, "getpid", lambda: -1)

    childs = current.application()

    assert childs is not parents
    assert isinstance(childs, Backend)
    assert childs.settings.prefix == "mine"


def test_credentials_are_those_of_the_current_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints take them when a module is imported, and settings may be found later."""
    credentials = broadcaster.credentials
    monkeypatch.setenv("BROADCASTER_DEBUG", "true")
    for name in ("ID", "KEY", "SECRET"):
        monkeypatch.setenv(f"BROADCASTER_APP_{name}", name.lower())

    assert credentials().key == "key"
    assert credentials.debug

    broadcaster.configure(Settings(app=App(id="2", key="other", secret="s")))

    assert credentials().key == "other"
    assert not credentials.debug
    assert isinstance(credentials, AppSource)


def test_credentials_that_are_missing_are_said_when_they_are_used() -> None:
    with pytest.raises(NotConfigured, match="BROADCASTER_APP_ID"):
        broadcaster.credentials()

    assert not broadcaster.credentials.debug


def test_an_application_can_be_replaced_for_a_while() -> None:
    first, second = RecordingApplication(), RecordingApplication()
    current.use(first)

    with current.replaced(second):
        assert current.application() is second
        current.reset()

    assert current.application() is first
    assert second.closed == 1
    current.reset()
