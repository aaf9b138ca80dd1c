from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.dev_process import PATIENCE, clean_environment
from tests.ports import free_port

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


# A machine that is busy takes its time; how much of it a child has is what one test is about.
PATIENT = f"import sys; from broadcaster.cli import tether; tether.GRACE = {PATIENCE}; "
RUN = "tether.run(sys.argv[1:])"


def tether(folder: Path, *arguments: str, patient: bool = True) -> subprocess.Popen[bytes]:
    program = ("-c", PATIENT + RUN) if patient else ("-m", "broadcaster.cli.tether")
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def serve(folder: Path, kind: str, target: str, *, stubborn: bool) -> subprocess.Popen[bytes]:
    (folder / "sample.py").write_text(f"STUBBORN = {stubborn}\n{APP}")
    port = free_port()
    child = tether(folder, kind, f"sample:{target}", "127.0.0.1", str(port), patient=not stubborn)
    until_up(port)
    return child


def until_up(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while not answers(f"http://127.0.0.1:{port}"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


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


def ending(folder: Path, code: str, *command: str) -> tuple[int, list[str]]:
    """Return the exit code of a child and the lines that it said."""
    (folder / "sample.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, "-m", "broadcaster.cli.tether", *command],
        cwd=folder,
        env=clean_environment(REDIS_URL="redis://127.0.0.1:1"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        said = child.stderr.read()
        return child.wait(PATIENCE), said.splitlines()


WSGI = """
class Shop:
    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)) or b"here"
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
app = Shop()
def make():
    return app
"""


@pytest.mark.parametrize("target", ["app", "make"])
def test_a_wsgi_application_is_served_and_ends_with_its_parent(tmp_path: Path, target: str) -> None:
    (tmp_path / "sample.py").write_text(WSGI)
    port = free_port()
    child = tether(tmp_path, "app", f"sample:{target}", "127.0.0.1", str(port))
    until_up(port)

    posted = httpx.post(f"http://127.0.0.1:{port}/orders?page=2", content=b"an order")
    code = end_parent(child)

    assert posted.text == "an order"
    assert code == 0


def test_requests_to_a_wsgi_application_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """The first request is answered only when a second one has come."""
    (tmp_path / "sample.py").write_text(
        "import threading\n"
        "second = threading.Event()\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/first':\n"
        "        assert second.wait(20)\n"
        "    elif environ['PATH_INFO'] == '/second':\n"
        "        second.set()\n"
        "    start_response('200 OK', [])\n"
        "    return [b'here']\n"
    )
    port = free_port()
    child = tether(tmp_path, "app", "sample:app", "127.0.0.1", str(port))
    until_up(port)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(httpx.get, f"http://127.0.0.1:{port}/first", timeout=PATIENCE)
        second = httpx.get(f"http://127.0.0.1:{port}/second")

    assert (first.result().status_code, second.text) == (200, "here")
    end_parent(child)


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        ("", "nothing:app", "nothing:app: no module is called 'nothing' here"),
        ("", "sample:app", "sample:app: sample has no 'app'"),
        ("app = 7", "sample:app", "sample:app is 'int', which is neither an ASGI nor a WSGI"),
        ("def app(only): ...", "sample:app", "sample:app is 'function', which is neither"),
        ("import lacking", "sample:app", "ModuleNotFoundError: No module named 'lacking' ("),
        ("app = (", "sample:app", "SyntaxError: '(' was never closed (sample.py, line 1)"),
        ("\napp = make()", "sample:app", "sample.py, line 2)"),
    ],
)
def test_what_cannot_be_served_until_it_is_mended_ends_with_the_reason(
    tmp_path: Path, code: str, target: str, reason: str
) -> None:
    exit_code, said = ending(tmp_path, code, "app", target, "127.0.0.1", "0")

    assert exit_code == 78, said
    assert reason in said[-1]


def test_what_may_pass_is_worth_another_start_and_only_the_user_s_code_is_traced(
    tmp_path: Path,
) -> None:
    code = "raise OSError('database away')"

    exit_code, said = ending(tmp_path, code, "app", "sample:app", "127.0.0.1", "0")

    assert exit_code == 1
    assert said == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path / "sample.py"}", line 1, in <module>',
        "    raise OSError('database away')",
        "OSError: database away",
        f"broadcaster: OSError: database away ({tmp_path / 'sample.py'}, line 1)",
    ]


def test_what_a_child_starts_cannot_read_what_is_said_to_the_child(tmp_path: Path) -> None:
    """Programs that look at their standard input would wait for ever, and take our lines."""
    code = (
        "import subprocess\n"
        "read = subprocess.run(['cat'], stdout=subprocess.PIPE, timeout=20).stdout\n"
        "raise OSError(f'read {read}')\n"
    )

    _, said = ending(tmp_path, code, "app", "sample:app", "127.0.0.1", "0")

    assert "OSError: read b''" in said[-1]


def test_a_worker_whose_module_cannot_be_imported_ends_the_same_way(tmp_path: Path) -> None:
    exit_code, said = ending(tmp_path, "app = (", "work", "sample")

    assert exit_code == 78, said
    assert "SyntaxError" in said[-1]
