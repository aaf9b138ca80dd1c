"""
The application that ``broadcaster dev`` serves: found, told apart, run.

ASGI runs on uvicorn. WSGI (Flask, Django) runs on the standard library's server with a
thread per request, because uvicorn's own bridge is deprecated; it is for development only.
"""

from __future__ import annotations

import errno
import inspect
import logging
import os
import signal
import socketserver
import sys
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from broadcaster.cli.dev_ports import is_free
from broadcaster.errors import ConfigurationError
from broadcaster.jobs.modules import imported

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    import uvicorn

_log = logging.getLogger("broadcaster.dev")

IDLE_SECONDS = 60.0
ASGI_ARGUMENTS, WSGI_ARGUMENTS = 3, 2


def serve(target: str, host: str, port: int, *, factory: bool) -> None:
    """
    Serve MODULE:ATTRIBUTE until a signal comes.

    Args:
        factory: whether the attribute is a function that returns the application. One that
            takes no arguments is called in any case.

    Raises:
        ConfigurationError: there is no such application, it is neither ASGI nor WSGI, or
            somebody listens on the port.
    """
    import uvicorn

    app = find(target)
    if factory or is_factory(app):
        app = app()
    config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False)
    config.load()
    if config.interface == "asgi3":
        _serve_asgi(config)
    elif is_wsgi(app):  # "asgi2" is what uvicorn takes anything for that is not ASGI
        _serve_wsgi(app, host, port)
    else:
        raise ConfigurationError(
            f"{target} is {type(app).__name__!r}, which is neither an ASGI nor a WSGI application"
        )


def find(target: str) -> Any:
    """
    Return what MODULE:ATTRIBUTE names.

    Raises:
        ConfigurationError: there is no such module or attribute; what the module raises
            itself comes through.
    """
    name, _, attributes = target.partition(":")
    found: Any = imported(
        name,
        lambda missing: (
            f"{target}: no module is called {missing!r} here; run this where "
            f"`python -c 'import {name}'` works"
        ),
    )
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            raise ConfigurationError(f"{target}: {name} has no {attributes!r}") from error
    return found


def is_factory(found: object) -> bool:
    """Whether `found` can be called without arguments but not as an application."""
    as_app = _takes(found, WSGI_ARGUMENTS) or _takes(found, ASGI_ARGUMENTS)
    return not as_app and inspect.isroutine(found) and _takes(found, 0)


def is_wsgi(app: object) -> bool:
    """Whether `app`, which is not ASGI, can be called as ``app(environ, start_response)``."""
    if inspect.isclass(app) and not hasattr(app, "__iter__"):
        return False
    return _takes(app, WSGI_ARGUMENTS)


def _takes(found: object, count: int) -> bool:
    if not callable(found):
        return False
    try:
        inspect.signature(found).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _serve_asgi(config: uvicorn.Config) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            try:
                await super().startup(sockets)
            except SystemExit:  # the error itself is logged and lost
                if self.lifespan.should_exit or is_free(config.port):
                    raise
                raise _taken(config.host, config.port, os.strerror(errno.EADDRINUSE)) from None
            _say_listening(config.host, config.port)

    Server(config).run()


def _taken(host: str, port: int, why: str | None) -> ConfigurationError:
    return ConfigurationError(f"cannot listen on {host} port {port}: {why}")


def _say_listening(host: str, port: int) -> None:
    _log.info("application listens on %s port %d", host, port, extra={"event": "listening"})


def _serve_wsgi(app: WSGIApplication, host: str, port: int) -> None:
    def threaded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.multithread"] = True
        return app(environ, start_response)

    def terminated(*_: object) -> None:
        sys.exit(0)

    try:
        made = _Server((host, port), _Handler)
    except OSError as error:
        raise _taken(host, port, error.strerror) from error
    with made as server:
        server.set_app(threaded)
        _say_listening(host, port)
        signal.signal(signal.SIGTERM, terminated)
        server.serve_forever()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking the name server what this host is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that are gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by the base
        """Say nothing about each request, as for ASGI."""
