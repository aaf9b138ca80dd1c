"""Publications to publish."""

from __future__ import annotations

from broadcaster.contracts.publisher import Publication


def make_publication(
    *channels: str,
    number: int = 1,
    name: str = "App\\Events\\Shipped",
    data: str = '{"id":7}',
    socket_id: str | None = None,
) -> Publication:
    return Publication(
        id=f"{number:032x}",
        app_id="1",
        channels=channels or ("orders",),
        name=name,
        data=data,
        socket_id=socket_id,
    )
