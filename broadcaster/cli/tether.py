"""
A child of ``broadcaster dev``, run as ``python -m broadcaster.cli.tether WHAT ...``.

Standard input is a pipe that only the parent holds. When the parent ends, however it
ends, the pipe reads end-of-file and this process stops itself: first as if terminated,
two seconds later for good. So ``kill -9`` of the parent leaves nothing behind, on every
system, with no process in between.

WHAT is ``app MODULE:ATTRIBUTE HOST PORT`` for an ASGI application, ``factory`` with the
same for a function that returns one, or any command line of ``broadcaster``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GRACE = 2.0


def run(arguments: Sequence[str]) -> None:
    """Run a child until it is done, its parent is gone, or it is told to stop."""
    threading.Thread(target=_watch_parent, name="tether", daemon=True).start()
    match list(arguments):
        case ["app" | "factory" as kind, target, host, port]:
            _serve_app(target, host, int(port), factory=kind == "factory")
        case command:
            from broadcaster.cli.main import main

            main(command)


def _watch_parent() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


def _serve_app(target: str, host: str, port: int, *, factory: bool) -> None:
    import uvicorn

    from broadcaster.cli import logs

    logs.configure()
    config = uvicorn.Config(
        target, host=host, port=port, factory=factory, log_config=None, access_log=False
    )
    config.load()
    if config.interface == "asgi2":  # what uvicorn takes anything that is not ASGI for
        sys.exit(
            f"broadcaster: {target} is not an ASGI application; for one of Flask or Django (WSGI) "
            "run `broadcaster dev --no-demo`, and its own server beside it"
        )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    run(sys.argv[1:])
