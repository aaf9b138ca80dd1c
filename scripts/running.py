"""
Running commands one after another: what is said of each, and how all of it ends.

Standard library only, as ``do.py``, which it belongs to.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# How long a group may clean up after Ctrl-C: servers and processes of tests are ended.
CLEAN_UP_SECONDS = 20.0
INTERRUPTED = 130


@dataclass
class Group:
    """One group of checks: a command, what it needs, how it went."""

    name: str
    command: list[str]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    skip: str = ""
    seconds: float = 0.0
    state: str = "not run"


def run_groups(groups: list[Group]) -> int:
    """Run all groups, whatever fails, until Ctrl-C; print a summary; return the exit code."""
    for group in groups:
        if group.skip:
            group.state = "FAILED (cannot run)" if is_ci() else "skipped"
            continue
        say(f"{group.name}: {' '.join(shown(part) for part in group.command)}")
        start = time.monotonic()
        code = call(group.command, folder=group.folder, environment=group.environment)
        group.seconds = time.monotonic() - start
        group.state = "passed" if code == 0 else f"FAILED (exit code {code})"
        if code == INTERRUPTED:
            group.state = "interrupted"
            break
    return summarize(groups)


def summarize(groups: list[Group]) -> int:
    """Print one line for each group and the verdict."""
    say("summary")
    for group in groups:
        reason = f"  {group.skip}" if group.skip else ""
        print(f"  {group.name:<32}{group.seconds:>7.1f} s  {group.state}{reason}")
    failed = [group.name for group in groups if group.state.startswith("FAILED")]
    skipped = [group.name for group in groups if group.state == "skipped"]
    total = sum(group.seconds for group in groups)
    note = f", {len(skipped)} skipped" if skipped else ""
    verdict = f"FAILED: {', '.join(failed)}" if failed else f"all passed{note}"
    interrupted = any(group.state == "interrupted" for group in groups)
    if interrupted:
        verdict = ", ".join(["interrupted", *([verdict] if failed else [])])
    print(f"  {'total':<32}{total:>7.1f} s  {verdict}", flush=True)
    return INTERRUPTED if interrupted else int(bool(failed))


# -- one command ---------------------------------------------------------------------


def call(
    command: list[str], *, folder: Path = ROOT, environment: dict[str, str] | None = None
) -> int:
    """
    Run `command` with its output shown.

    Returns:
        Its exit code; 127 if it is not there, 130 after Ctrl-C, which a terminal sends to the
        command too: it gets time to end what it started.
    """
    try:
        process = subprocess.Popen(command, cwd=folder, env={**os.environ, **(environment or {})})
    except FileNotFoundError:
        return fail(f"{command[0]} is not there", code=127)
    try:
        return process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(CLEAN_UP_SECONDS)
        process.kill()
        process.wait()
        return INTERRUPTED


def must(command: list[str]) -> None:
    """Run `command` and end this script if it fails."""
    code = call(command)
    if code != 0:
        sys.exit(fail(f"failed: {' '.join(command)}", code=code))


def must_quietly(command: list[str]) -> None:
    """Run `command` with a count of seconds; show its output and end only if it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0 if sys.stdout.isatty() else 30.0)
                show_seconds(time.monotonic() - start)
        except KeyboardInterrupt:
            process.wait()  # Ctrl-C in the terminal has reached it too
            sys.exit(130)
        if sys.stdout.isatty():
            print()
        if process.returncode != 0:
            output.seek(0)
            print(output.read().decode(errors="replace"), file=sys.stderr, flush=True)
            sys.exit(fail(f"failed: {' '.join(command)}", code=process.returncode))


def show_seconds(seconds: float) -> None:
    """Say how long something runs: on one line of a terminal, else on lines of their own."""
    start, end = ("\r", "") if sys.stdout.isatty() else ("", "\n")
    print(f"{start}    {seconds:.0f} s", end=end, flush=True)


def fail(message: str, code: int = 1) -> int:
    """Print an error; return the exit code to end with."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code


def say(message: str) -> None:
    """Print one line that stands out from the output of the tools."""
    print(f"\n==> {message}", flush=True)


def shown(part: str) -> str:
    """Return a command's word as a reader would type it."""
    text = part.replace(f"{ROOT}{os.sep}", "")
    return f'"{text}"' if " " in text else text


def is_ci() -> bool:
    """Whether this runs where nothing may be skipped."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
