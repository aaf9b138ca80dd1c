"""
Moments by cron expressions, in a time zone.

When clocks go forward, a job of a fixed hour that is left out is due right after the gap;
when they go back, it is due once. What is due every hour or minute (``*``) goes by the time
that passes. This is what cronie and Debian's cron do.

Source: ``crontab(5)``; needs the extra ``cron``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class CronTimes:
    """
    Implements `broadcaster.scheduling.timetable.Times`.

    Attributes:
        expression: five fields, or six with seconds first.
        zone: name of the time zone, such as ``Europe/Berlin``.

    Raises:
        ValueError: there is no such zone, or the expression is wrong or never due.
    """

    expression: str
    zone: str = "UTC"
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            zone = ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"there is no time zone {self.zone!r}: say one such as Europe/Berlin, or UTC"
            ) from error
        object.__setattr__(self, "_zone", zone)
        try:
            next(CronSim(self.expression, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            raise ValueError(
                f"{self.expression!r} is no time: {error or 'it never comes'}; five fields are "
                "minute, hour, day, month, weekday, as in */5 * * * *"
            ) from error

    def __str__(self) -> str:
        return f"{self.expression} {self.zone}"

    def after(self, moment: float) -> Iterator[float]:
        """See `Times.after`."""
        for found in CronSim(self.expression, datetime.fromtimestamp(moment, self._zone)):
            # In an hour that comes for the second time it begins with the first one.
            if (at := found.timestamp()) > moment:
                yield at
