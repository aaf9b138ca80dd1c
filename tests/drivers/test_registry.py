"""Drivers are found by name."""

from __future__ import annotations

import pytest

from broadcaster.drivers.registry import PUBLISHERS, QUEUES, load
from broadcaster.errors import UnknownDriver


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in (PUBLISHERS, QUEUES) for name in table]
)
def test_every_driver_exists(table: dict[str, str], name: str) -> None:
    assert callable(load(table, name))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownDriver, match=r"'rediss' - did you mean 'redis'\?.*pusher") as caught:
        load(PUBLISHERS, "rediss")

    assert caught.value.exit_code == 78


def test_a_name_like_no_other_lists_the_known_ones_too() -> None:
    with pytest.raises(
        UnknownDriver, match=r"no driver 'ably'\. Known are: redis, sync, null, celery$"
    ):
        load(QUEUES, "ably")
