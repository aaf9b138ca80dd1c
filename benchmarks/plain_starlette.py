"""The least that Starlette can do with a WebSocket: accept it and wait."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

if TYPE_CHECKING:
    from starlette.websockets import WebSocket


async def accept(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()


def main() -> None:
    app = Starlette(routes=[WebSocketRoute("/", accept)])
    uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", access_log=False)


if __name__ == "__main__":
    main()
