from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.cli import dev_children
from broadcaster.cli.dev_children import Child, explain_exit, parse_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

pytestmark = pytest.mark.process

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
FOREVER = "import time; print('up', flush=True); time.sleep(600)"


class Program(Child):
    """A child that is any Python program."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", self.arguments[0]]


@dataclass
class Ear:
    lines: list[Mapping[str, object]] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def heard(self, child: str, fields: Mapping[str, object]) -> None:
        self.lines.append({"child": child, **fields})

    def died(self, child: str, reason: str, pause: float) -> None:
        self.deaths.append(f"{child} {reason} {pause:g}")

    def waits(self, child: str, reason: str) -> None:
        self.waiting.append(f"{child} {reason}")


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev_children, "RESTARTS", replace(dev_children.RESTARTS, first=0.01))


@pytest.fixture
async def start(ear: Ear) -> AsyncIterator[Callable[..., Program]]:
    tasks: list[asyncio.Task[None]] = []

    def begin(code: str, *, reloaded: bool = False, grace: float = 0.2) -> Program:
        child = Program("sample", [code], grace=grace, reloaded=reloaded)
        tasks.append(asyncio.create_task(child.run(ear)))
        return child

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the child is another process
            await asyncio.sleep(0.01)


async def test_a_child_is_heard_line_by_line(start: Callable[[str], Program], ear: Ear) -> None:
    start('print(\'{"ts": "t", "msg": "hello"}\'); print(\'plain\'); ' + FOREVER)

    await until(lambda: len(ear.lines) == 3)

    assert ear.lines[0] == {"child": "sample", "ts": "t", "msg": "hello"}
    assert ear.lines[1] == {"child": "sample", "msg": "plain"}


async def test_a_child_that_dies_starts_again_ever_later(
    start: Callable[[str], Program], ear: Ear
) -> None:
    start("raise SystemExit('no database')")

    await until(lambda: len(ear.deaths) >= 3)

    assert ear.deaths[0] == "sample ended with exit code 1: no database 0.01"
    assert [death.split()[-1] for death in ear.deaths[:3]] == ["0.01", "0.02", "0.04"]


async def test_a_stopped_child_stays_away(start: Callable[[str], Program], ear: Ear) -> None:
    child = start(FOREVER)
    await until(lambda: ear.lines)

    await child.stop()

    assert child.process is not None
    assert child.process.returncode is not None
    assert ear.deaths == []


async def test_a_child_that_will_not_stop_is_made_to(
    start: Callable[[str], Program], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev_children, "KILL_SECONDS", 0.2)
    child = start(STUBBORN + FOREVER)
    await until(lambda: ear.lines)

    await child.stop()

    assert child.process is not None
    assert child.process.returncode == -9


async def test_a_restart_is_no_death(start: Callable[[str], Program], ear: Ear) -> None:
    child = start(FOREVER)
    await until(lambda: ear.lines)

    await child.restart()
    await until(lambda: len(ear.lines) == 2)

    assert ear.deaths == []


async def test_a_restart_ends_the_pause_of_a_dead_child(
    start: Callable[[str], Program], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    forever = replace(dev_children.RESTARTS, first=600, longest=600)
    monkeypatch.setattr(dev_children, "RESTARTS", forever)
    child = start("raise SystemExit(3)")
    await until(lambda: ear.deaths)

    await child.restart()

    await until(lambda: len(ear.deaths) == 2)


LEAVES = """
import subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(left.pid, flush=True)
"""


@pytest.mark.parametrize("end", ["sys.exit('no database')", FOREVER])
async def test_what_a_child_has_started_and_left_behind_is_not_waited_for(
    start: Callable[[str], Program], ear: Ear, end: str
) -> None:
    """It writes where the child wrote, so the output of the child does not end."""
    child = start(LEAVES + end)
    try:
        if end == FOREVER:
            await until(lambda: len(ear.lines) == 2)
            await child.restart()
            await until(lambda: len(ear.lines) == 4)
        else:
            await until(lambda: len(ear.deaths) == 2)
            assert ear.deaths[0] == "sample ended with exit code 1: no database 0.01"

        async with asyncio.timeout(20):
            await child.stop()
    finally:
        for line in ear.lines:
            if str(line["msg"]).isdigit():
                os.kill(int(str(line["msg"])), signal.SIGKILL)


async def test_what_a_child_says_last_is_heard_before_it_is_over(
    start: Callable[..., Program], ear: Ear
) -> None:
    last = "signal.signal(15, lambda *_: sys.exit('\\n'.join(map(str, range(2_000)))));"
    child = start("import signal, sys;" + last + FOREVER, grace=30.0)
    await until(lambda: ear.lines)

    await child.stop()

    assert [line["msg"] for line in ear.lines] == ["up", *map(str, range(2_000))]


async def test_a_child_that_is_starting_starts_again_when_code_changes(
    start: Callable[[str], Program], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have read the code of before."""
    started: list[asyncio.subprocess.Process] = []
    known = asyncio.Event()
    create = asyncio.create_subprocess_exec

    async def slow(*args: Any, **options: Any) -> asyncio.subprocess.Process:
        started.append(await create(*args, **options))
        await known.wait()
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    child = start(FOREVER)
    await until(lambda: started)

    await child.restart()
    known.set()
    await until(lambda: len(started) == 2)

    assert started[0].returncode == -9
    assert ear.deaths == []


class Deaf(Ear):
    def heard(self, child: str, fields: Mapping[str, object]) -> None:
        raise ValueError(f"{child} said {fields['msg']}")


async def test_a_listener_that_fails_ends_the_child_and_does_not_fail_in_silence() -> None:
    """Nobody would read what the child writes, and it would stand still."""
    child = Program("sample", [FOREVER])

    async with asyncio.timeout(20):
        with pytest.raises(ValueError, match="sample said up"):
            await child.run(Deaf())

    assert child.process is not None
    assert child.process.returncode == -9


REFUSES = "import sys; print('broadcaster: no such module'); sys.exit(78)"


@pytest.mark.parametrize("code", [2, 78])
async def test_a_child_that_cannot_run_waits_until_it_is_told_to_start(
    start: Callable[..., Program], ear: Ear, code: int
) -> None:
    child = start(REFUSES.replace("78", str(code)), reloaded=True)
    await until(lambda: ear.waiting)

    await child.restart()
    await until(lambda: len(ear.waiting) == 2)

    assert ear.waiting == ["sample no such module"] * 2
    assert ear.deaths == []


async def test_a_child_that_waits_can_be_stopped(start: Callable[..., Program], ear: Ear) -> None:
    child = start(REFUSES, reloaded=True)
    await until(lambda: ear.waiting)

    await child.stop()

    assert len(ear.lines) == 1


async def test_a_child_that_no_change_starts_again_is_tried_again(
    start: Callable[..., Program], ear: Ear
) -> None:
    start(REFUSES)

    await until(lambda: len(ear.deaths) == 2)

    assert ear.waiting == []


async def test_an_endless_line_does_not_end_the_listening(
    start: Callable[[str], Program], ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev_children, "LONGEST_LINE", 1024)
    start("print('x' * 100_000); print('after'); " + FOREVER)

    await until(lambda: any(line["msg"] == "after" for line in ear.lines))


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'{"a": 1}', b"\xff{", b"[" * 5_000])
def test_what_is_no_record_is_a_plain_line(line: bytes) -> None:
    assert list(parse_line(line)) == ["msg"]


def test_the_reason_of_an_end_is_its_last_line() -> None:
    assert explain_exit(78, ["Traceback", "no Redis", ""]) == "ended with exit code 78: no Redis"
    assert explain_exit(0, ["some output of a job"]) == "ended with exit code 0"
    assert explain_exit(-9, []) == "ended by SIGKILL"
    assert explain_exit(-64, []) == "ended by SIGRTMAX"
