"""
A child of ``broadcaster dev`` or ``serve --workers``: ``python -m broadcaster.cli.tether WHAT ...``.

When the parent is gone (`broadcaster.cli.lifeline`), this process stops itself: first as if
terminated, two seconds later for good.

WHAT is ``app MODULE:ATTRIBUTE HOST PORT`` for an ASGI or WSGI application, ``factory`` with
the same for a function that returns one, or any command line of ``broadcaster``. Exit code
78 says that nothing but a change of code or settings can help.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from broadcaster.cli.import_errors import explain, users_part
from broadcaster.cli.lifeline import Tether
from broadcaster.errors import BroadcasterError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

GRACE = 2.0
# Errors at the import of the user's modules that come again at every start.
MENDED_BY_EDITING = (ImportError, SyntaxError, NameError, AttributeError, TypeError)


def run(arguments: Sequence[str]) -> None:
    """Run a child until it is done, its parent is gone, or it is told to stop."""
    Tether(grace=GRACE).start()
    try:
        match list(arguments):
            case ["app" | "factory" as kind, target, host, port]:
                from broadcaster.cli import dev_app, logs

                logs.configure()
                dev_app.serve(target, host, int(port), factory=kind == "factory")
            case command:
                from broadcaster.cli.main import main

                main(command)
    except BroadcasterError as error:
        _end(error.message, int(getattr(error, "exit_code", 1)))
    except Exception as error:  # noqa: BLE001 - the process ends with it
        is_lasting = isinstance(error, MENDED_BY_EDITING)
        traceback.print_exception(error.with_traceback(users_part(error.__traceback__)))
        _end(explain(error), ConfigurationError.exit_code if is_lasting else 1)


def _end(reason: str, code: int) -> NoReturn:
    """Exit; `reason` is the last line said, which ``dev`` shows."""
    sys.stderr.write(f"broadcaster: {reason}\n")
    sys.exit(code)


if __name__ == "__main__":
    run(sys.argv[1:])
