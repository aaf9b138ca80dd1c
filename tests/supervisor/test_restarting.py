from __future__ import annotations

import pytest

from broadcaster.supervisor.restarting import HOPELESS, Restarts

ORDINARY = Restarts(longest=10.0)


@pytest.mark.parametrize(
    ("code", "lived", "before", "pause"),
    [
        (0, 2.0, 0.0, 0.0),  # it has done its jobs or its time
        (0, 0.1, 0.0, 0.5),
        (0, 0.1, 0.5, 0.5),
        (12, 60.0, 8.0, 0.5),  # it has grown over its memory
        (12, 1.0, 0.0, 0.5),  # it cannot even begin with so little
        (12, 1.0, 0.5, 1.0),
        (1, 1.0, 0.5, 1.0),
        (-9, 1.0, 8.0, 10.0),
        (1, 1.0, 10.0, 10.0),
        (1, 20.0, 10.0, 0.5),
        (78, 1.0, 0.0, 0.5),
    ],
)
def test_what_has_done_its_work_goes_on_at_once_and_what_dies_young_waits(
    code: int, lived: float, before: float, pause: float
) -> None:
    assert ORDINARY.pause(code, lived, before) == pause


def test_one_that_should_run_for_ever_has_died_in_whatever_order_it_ended() -> None:
    endless = Restarts(longest=10.0, endless=True)

    assert [endless.pause(0, 2.0, before) for before in (0.0, 0.5, 8.0)] == [0.5, 1.0, 10.0]
    assert endless.pause(0, 60.0, 8.0) == 0.5


@pytest.mark.parametrize("code", sorted(HOPELESS))
def test_what_ends_hopelessly_is_given_time_to_be_mended(code: int) -> None:
    patient = Restarts(longest=10.0, hopeless=60.0)

    assert [patient.pause(code, lived, 0.0) for lived in (0.1, 100.0)] == [60.0, 60.0]
