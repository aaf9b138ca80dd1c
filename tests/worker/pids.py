"""Whether processes still run."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether it runs; a killed child of a killed child is a zombie until init reaps it."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (ProcessLookupError, FileNotFoundError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def living(group: int) -> list[int]:
    """Return the processes of a process group that still run."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text(encoding="ascii", errors="replace")
            state, _, number = stat.rpartition(")")[2].split()[:3]
            if int(number) == group and state != "Z":
                found.append(int(folder.name))
    return found
