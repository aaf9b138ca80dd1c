"""A server that takes its time: before each answer, or for every byte of one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.tls import Certificate

ANSWERS = {b"PING": b"+PONG\r\n", b"EVALSHA": b":1\r\n", b"PUBLISH": b":1\r\n"}
ENDLESS = b"$1000000\r\n" + b"x" * 1_000_000


class SlowServer:
    """
    Answers every command, slowly, on a port of loopback or on a unix socket.

    Args:
        pause: seconds before the answer to a command, by its name.
        drip: the command that is answered with a byte each 0.1 s, more than anyone waits for.
        path: of the unix socket, if it is one.
        tls: speak it with this certificate.
        answers: to commands, by their names; to others it is OK.
    """

    def __init__(
        self,
        *,
        pause: Callable[[bytes], float] = lambda _: 0,
        drip: bytes = b"",
        path: Path | None = None,
        tls: Certificate | None = None,
        answers: Mapping[bytes, bytes] = ANSWERS,
    ) -> None:
        self._pause, self._drip, self._answers = pause, drip, answers
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(tls.cert, tls.key)
        self._listening = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self._listening.bind(("127.0.0.1", 0) if path is None else str(path))
        self._listening.listen()
        self._listening.settimeout(0.05)
        self.port = 0 if path is not None else int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._listening.close()

    def _begin(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = self._listening.accept()
                self._begin(self._serve, peer)

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError):  # whoever gave up has closed
            if self._tls is not None:
                peer = self._tls.wrap_socket(peer, server_side=True)
            peer.settimeout(0.05)
            for name in self._commands(peer):
                self._answer(peer, name)
        peer.close()

    def _answer(self, peer: socket.socket, name: bytes) -> None:
        self._over.wait(self._pause(name))
        if name != self._drip:
            peer.sendall(self._answers.get(name, b"+OK\r\n"))
            return
        for place in range(len(ENDLESS)):
            if self._over.wait(0.1):
                return
            peer.sendall(ENDLESS[place : place + 1])

    def _commands(self, peer: socket.socket) -> Iterator[bytes]:
        """Yield the names of the commands that arrive, until the end of either side."""
        data = b""
        while not self._over.is_set():
            lines = data.split(b"\r\n")
            size = 1 + 2 * int(lines[0][1:]) if len(lines) > 1 else len(lines)
            if size < len(lines):
                yield lines[2]
                data = b"\r\n".join(lines[size:])
                continue
            with contextlib.suppress(TimeoutError):
                more = peer.recv(65_536)
                if not more:
                    return
                data += more
