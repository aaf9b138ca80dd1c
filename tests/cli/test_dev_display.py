"""What ``broadcaster dev`` makes of what its children say, and of who stops it when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.cli.dev import Display
from broadcaster.cli.dev_panel import Panel

if TYPE_CHECKING:
    import pytest

PANEL = Panel(
    app_url=None, app_label="", gateway_host="box", gateway_port=1, app_id="1", key="k", redis="",
    folder="",
)  # fmt: skip
TAKEN = "ended with exit code 78: broadcaster: cannot listen on box port 1: Address already in use"


def display() -> Display:
    return Display(as_json=True, debug=False, colour=False)


def test_a_port_that_is_taken_before_the_panel_has_ports_chosen_anew() -> None:
    shown = display()

    shown.died("gateway", TAKEN, 0.5)

    assert (shown.outrun, shown.stop.is_set()) == (True, True)


def test_who_has_been_stopped_does_not_start_with_other_ports() -> None:
    """Ctrl-C, and in the same moment a child that cannot have its port."""
    shown = display()
    shown.stop.set()

    shown.died("gateway", TAKEN, 0.5)
    shown.waits("app", TAKEN)

    assert (shown.outrun, shown.refusal) == (False, "")


def test_the_panel_is_shown_once_whoever_opens_it(capsys: pytest.CaptureFixture[str]) -> None:
    """It is opened when everything listens, and by Ctrl-C, if that comes first."""
    shown = display()

    shown.open(PANEL)
    shown.open(PANEL)

    assert capsys.readouterr().out.count("broadcaster dev is running") == 1
