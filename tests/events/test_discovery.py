"""Row 50: listeners are found by their annotations."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import ConfigurationError
from broadcaster.events.discovery import discover
from broadcaster.events.dispatcher import emit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from tests.events.recording import RecordingApplication

pytestmark = pytest.mark.usefixtures("app", "own_listeners")

EVENTS = """
    from dataclasses import dataclass

    HEARD = []

    @dataclass
    class Placed:
        order_id: int

    @dataclass
    class Paid:
        order_id: int
"""
MAIL = """
    from __future__ import annotations
    from broadcaster.events.listening import listen, queued
    from found_shop.events import HEARD, Paid, Placed

    def confirm(event: Placed) -> None:
        HEARD.append(("confirm", event.order_id))

    def either(event: Placed | Paid) -> None:
        HEARD.append(("either", event.order_id))

    def _private(event: Placed) -> None:
        raise AssertionError

    def show(order: Placed) -> None:
        raise AssertionError

    def unclear(event) -> None:
        raise AssertionError

    @listen(Placed)
    def decorated(event: Placed) -> None:
        HEARD.append(("decorated", event.order_id))

    @queued(queue="mail")
    class Receipt:
        def handle(self, event: Paid) -> None: ...

    class Stock:
        def handle_placed(self, event: Placed) -> None:
            HEARD.append(("stock", event.order_id))

        def count(self, event: Placed) -> None:
            raise AssertionError

    class NoListener:
        # It cannot be made without arguments.
        def __init__(self, shelf: str) -> None:
            self.shelf = shelf

        def handle(self, event: Placed) -> None:
            raise AssertionError
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    package = tmp_path / "found_shop"
    (package / "listeners").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "events": EVENTS,
        "listeners/__init__": "",
        "listeners/mail": MAIL,
    }.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import found_shop.events  # type: ignore[import-not-found]

    yield found_shop.events
    for name in [name for name in sys.modules if name.startswith("found_shop")]:
        del sys.modules[name]


def test_functions_and_methods_are_found_in_a_package_and_below(
    shop: Any, app: RecordingApplication
) -> None:
    assert discover("found_shop.listeners") == 5

    emit(shop.Placed(1))
    emit(shop.Paid(2))

    assert sorted(shop.HEARD) == [
        ("confirm", 1),
        ("decorated", 1),
        ("either", 1),
        ("either", 2),
        ("stock", 1),
    ]
    assert [job.queue for job in app.jobs] == ["mail"]


def test_finding_them_again_changes_nothing(shop: Any) -> None:
    discover("found_shop.listeners")

    assert discover("found_shop.listeners", "found_shop.listeners.mail") == 0

    emit(shop.Placed(1))
    assert len(shop.HEARD) == 4


def test_what_a_module_only_imports_is_not_its_own(shop: Any, tmp_path: Path) -> None:
    text = "from found_shop.listeners.mail import confirm"
    (tmp_path / "found_shop" / "borrowing.py").write_text(text, encoding="utf-8")

    assert discover("found_shop.borrowing") == 0


@pytest.mark.parametrize("name", ["no_such_shop", "found_shop.no_such_part"])
def test_a_module_that_does_not_exist_is_named(shop: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no module is called '{name}'"):
        discover(name)


def test_an_annotation_that_nobody_can_read_is_named(shop: Any, tmp_path: Path) -> None:
    text = "from __future__ import annotations\ndef heard(event: Unknown) -> None: ..."
    (tmp_path / "found_shop" / "odd.py").write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"odd\.heard.*Unknown.*TYPE_CHECKING"):
        discover("found_shop.odd")


def test_what_a_module_lacks_itself_is_its_own_error(shop: Any, tmp_path: Path) -> None:
    text = "import no_such_library"
    (tmp_path / "found_shop" / "broken.py").write_text(text, encoding="utf-8")

    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        discover("found_shop.broken")
