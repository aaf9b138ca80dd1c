from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.dev_process import PATIENCE, clean_environment, free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.process

# An application, and a shutdown that never ends when STUBBORN is true.
APP = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(600 if STUBBORN else 0)
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})
def make():
    return app
"""


def tether(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "broadcaster.cli.tether", *arguments],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def serve(folder: Path, kind: str, target: str, *, stubborn: bool) -> subprocess.Popen[bytes]:
    (folder / "sample.py").write_text(f"STUBBORN = {stubborn}\n{APP}")
    port = free_port()
    child = tether(folder, kind, f"sample:{target}", "127.0.0.1", str(port))
    deadline = time.monotonic() + PATIENCE
    while not answers(f"http://127.0.0.1:{port}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return child


def answers(url: str) -> bool:
    try:
        return httpx.get(url).text == "here"
    except httpx.TransportError:
        return False


def end_parent(child: subprocess.Popen[bytes]) -> int:
    """Do to the pipe what the end of the parent does to it; return the child's exit code."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    code = child.wait(PATIENCE)
    child.stdout.close()
    return code


@pytest.mark.parametrize(("kind", "target"), [("app", "app"), ("factory", "make")])
def test_an_application_ends_with_its_parent(tmp_path: Path, kind: str, target: str) -> None:
    child = serve(tmp_path, kind, target, stubborn=False)

    code = end_parent(child)

    assert code != -9


def test_a_child_that_will_not_end_is_made_to(tmp_path: Path) -> None:
    child = serve(tmp_path, "app", "app", stubborn=True)

    code = end_parent(child)

    assert code == -9


def test_anything_else_is_a_command_line_of_ours(tmp_path: Path) -> None:
    child = tether(tmp_path, "version")
    assert child.stdout is not None

    out = child.stdout.read()

    assert child.wait(PATIENCE) == 0
    assert out.strip()
    end_parent(child)


def test_what_is_not_asgi_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text("def app(environ, start_response): ...\n")

    with subprocess.Popen(
        [sys.executable, "-m", "broadcaster.cli.tether", "app", "sample:app", "127.0.0.1", "0"],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        child.wait(PATIENCE)
        assert child.stderr is not None
        said = child.stderr.read().decode()

    assert child.returncode == 1
    assert "sample:app is not an ASGI application" in said
    assert "broadcaster dev --no-demo" in said
