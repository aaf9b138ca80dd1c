"""An example, imported from its folder, and a worker that runs what it queues."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broadcaster import current
from broadcaster.contracts.apps import App
from broadcaster.settings import BroadcastSettings, Settings
from broadcaster.wiring.worker import open_worker
from broadcaster.worker.options import WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.worker.options import ExitReason

EXAMPLES = Path(__file__).parents[2] / "examples"
APP = App(id="4711", key="examples-key", secret="examples-secret-of-32-characters")


def import_example(folder: str, name: str) -> Any:
    """Return a module of an example; imported once, since its jobs are registered by name."""
    module_name = f"example_{folder}_{name}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    path = EXAMPLES / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def configured(redis_url: str, prefix: str) -> Iterator[Settings]:
    """Let jobs and broadcasts of this process go to `redis_url`; nothing is published."""
    settings = Settings(
        app=APP, redis_url=redis_url, prefix=prefix, broadcast=BroadcastSettings(driver="null")
    )
    current.configure(settings)
    try:
        yield settings
    finally:
        current.reset()


async def work(settings: Settings, *queues: str, **options: Any) -> ExitReason:
    """Run a worker of `queues` until nothing is ready."""
    # A process of its own would know neither these settings nor an example loaded by hand.
    ours = {"queues": queues, "stop_when_empty": True, "hard_timeouts": False}
    given = WorkerOptions(**{**ours, **options})
    await current.application().aclose()  # a worker makes one of its own
    opened = open_worker(settings, given)
    try:
        async with asyncio.timeout(30):
            return await opened.worker.run()
    finally:
        await opened.runner.aclose()
        await opened.aclose()


async def work_until(
    condition: Callable[[], object], settings: Settings, *queues: str, within: float = 30.0
) -> None:
    """Run workers of `queues`, one after the other, until `condition()` is true."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"still false after {within} s"
        await work(settings, *queues)


@contextmanager
def python(
    folder: Path, arguments: tuple[str, ...], environment: dict[str, str], log: Path
) -> Iterator[None]:
    """Run Python in the folder of an example; what it prints goes into `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
