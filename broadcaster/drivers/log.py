"""The driver ``log``: writes what would be published to the log ``broadcaster.publish``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.contracts.publisher import Publication

_log = logging.getLogger("broadcaster.publish")


class LogPublisher:
    """
    Logs one line for each publication; see `Publisher`.

    The line (INFO) has name, channels and size. The data follows at DEBUG, which is off
    unless somebody asks for it.
    """

    def publish(self, publications: Sequence[Publication]) -> None:
        """Log `publications`."""
        for publication in publications:
            channels = ", ".join(publication.channels)
            extra = {"event": "published", "app": publication.app_id, "channel": channels}
            if publication.socket_id is not None:
                extra["socket_id"] = publication.socket_id
            size = len(publication.data.encode())
            _log.info("%s to %s (%d bytes)", publication.name, channels, size, extra=extra)
            _log.debug("%s", publication.data)

    async def apublish(self, publications: Sequence[Publication]) -> None:
        """Log `publications`."""
        self.publish(publications)
