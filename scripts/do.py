"""
One script for every deed: ``python3 scripts/do.py dev|test|check|fuzz|…``.

Standard library only, because it makes the environment that everything else needs:
a virtual environment in ``.venv`` with the development dependencies, and the npm
workspace in ``client-js``. Both carry a stamp, so that a second run starts at once.
`make` and ``.ci/run`` are aliases of it.

Under ``CI=true`` whatever is missing is a failure; on a laptop the groups that need it are
skipped with a line that says so.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
CLIENT = ROOT / "client-js"
NODE_FLOOR = (20, 19)
# Tests without a server, a browser or a process of their own.
PURE = "not redis and not process and not browser"
CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "build", "dist")

VERBS = ["dev", "test", "check", "build", "bench", "fuzz", "hostile", "clean"]
# Verbs that start no program which might know more options.
ALONE = ("test", "check", "clean")
SOURCES = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "auth")))}

NODE_HINT = "apt-get install -y nodejs npm && npm install -g n && n 22"
APT_HINTS = {"make": "apt-get install -y make", "gcc": "apt-get install -y gcc libc6-dev"}


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


def main() -> int:
    """Run the verb on the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="do.py", description=__doc__, allow_abbrev=False)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument(
        "--quick", action="store_true", help="test: only the pure tests; bench: short rounds"
    )
    # What is not known here belongs to the program that the verb starts.
    options, rest = parser.parse_known_args()
    if options.quick and options.verb not in ("test", "bench"):
        rest.insert(0, "--quick")
    if rest and options.verb in ALONE:
        parser.error(f"{options.verb} takes no {' '.join(rest)}")
    if options.verb == "clean":
        return clean()
    make_venv()
    if options.verb == "test":
        return run_groups(quick_groups() if options.quick else test_groups())
    if options.verb == "check":
        return run_groups(check_groups())
    if options.verb == "build":
        return call([python(), "-m", "build", *rest])
    if options.verb == "fuzz":
        return call([python(), "-m", "tests.fuzz.run", *rest], environment=SOURCES)
    if options.verb == "hostile":
        return call([python(), "-m", "benchmarks.hostile", *rest])
    if options.verb == "bench":
        return bench([*(["--quick"] if options.quick else []), *rest])
    return dev(rest)


def dev(rest: list[str]) -> int:
    """Bring up everything; Ctrl-C ends it."""
    say("starting broadcaster dev (Ctrl-C stops everything)")
    command = [str(BIN / "broadcaster"), "dev", *rest]
    if os.name == "posix":
        sys.stdout.flush()
        os.chdir(ROOT)
        # Become the program: Ctrl-C and exit codes then need no relay.
        os.execv(command[0], command)
    return call(command)


def bench(rest: list[str]) -> int:
    """Run the benchmarks against their limit in C."""
    if shutil.which("gcc") is None:
        return fail(f"gcc is missing. Install it:  {sudo()}{APT_HINTS['gcc']}")
    return call([python(), "-m", "benchmarks.fanout", *rest])


def clean() -> int:
    """Remove caches and build results; keep the environments and the credentials of dev."""
    for name in CACHES:
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for cache in ROOT.rglob("__pycache__"):
        if VENV not in cache.parents and "node_modules" not in cache.parts:
            shutil.rmtree(cache, ignore_errors=True)
    say(f"removed {', '.join(CACHES)} and __pycache__; .venv and node_modules stay")
    return 0


# -- groups ----------------------------------------------------------------------------


def check_groups() -> list[Group]:
    """Return the checks that read the code without running it."""
    return [
        Group("format", [tool("ruff"), "format", "--check", "."]),
        Group("ruff", [tool("ruff"), "check", "."]),
        Group("mypy", [tool("mypy")]),
        Group("pyright", [tool("pyright")]),
    ]


def quick_groups() -> list[Group]:
    """Return the pure tests alone."""
    return [pytest("pytest, pure", PURE)]


def test_groups() -> list[Group]:
    """Return everything, cheap groups first, and prepare what they need."""
    node_problem = find_node_problem()
    chromium = None if node_problem else find_chromium()
    browser_problem = node_problem or (
        "" if chromium else "Chromium was not found: set CHROMIUM_PATH or apt-get install chromium"
    )
    for problem in dict.fromkeys(filter(None, [node_problem, browser_problem])):
        say(f"{'error' if is_ci() else 'skipping'}: {problem}")
    if not node_problem:
        node_problem = prepare_client()
        browser_problem = browser_problem or node_problem
    environment = {"CHROMIUM_PATH": chromium} if chromium else {}
    groups = [
        *check_groups(),
        pytest("pytest, pure", PURE),
        pytest("pytest, servers and processes", f"not ({PURE})", environment),
        Group("tsc", ["npm", "run", "--silent", "typecheck"], CLIENT, skip=node_problem),
        vitest("unit", {}, node_problem),
        vitest("node", {}, node_problem),
        vitest("browser", environment, browser_problem),
    ]
    if node_problem:  # pyright runs on node
        groups[3].skip = node_problem
    return groups


def pytest(name: str, marks: str, environment: dict[str, str] | None = None) -> Group:
    """Return the group that runs the tests with `marks`."""
    command = [python(), "-m", "pytest", "-q", "-ra", "-m", marks]
    return Group(name, command, environment=environment or {})


def vitest(project: str, environment: dict[str, str], skip: str) -> Group:
    """Return the group that runs one of the client's vitest projects."""
    command = ["npm", "run", "--silent", f"test:{project}"]
    known = {"BROADCASTER_PYTHON": python(), **environment}
    return Group(f"vitest, {project}", command, CLIENT, known, skip)


def run_groups(groups: list[Group]) -> int:
    """Run all groups whatever happens; print a summary; return 0 if all passed."""
    for group in groups:
        if group.skip:
            group.state = "FAILED (cannot run)" if is_ci() else "skipped"
            continue
        say(f"{group.name}: {' '.join(shown(part) for part in group.command)}")
        start = time.monotonic()
        code = call(group.command, folder=group.folder, environment=group.environment)
        group.seconds = time.monotonic() - start
        group.state = "passed" if code == 0 else f"FAILED (exit code {code})"
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
    print(f"  {'total':<32}{total:>7.1f} s  {verdict}", flush=True)
    return 1 if failed else 0


# -- preparation -----------------------------------------------------------------------


def make_venv() -> None:
    """Make ``.venv`` and install the project into it, unless its stamp is current."""
    stamp = VENV / ".stamp"
    wanted = digest(ROOT / "pyproject.toml", sys.version)
    if stamp.is_file() and stamp.read_text() == wanted and (BIN / "broadcaster").exists():
        return
    if not Path(python()).exists():
        explain_missing_venv()
        say("making .venv")
        must([sys.executable, "-m", "venv", str(VENV)])
    say("installing broadcaster and its development tools into .venv (once; about a minute)")
    pip = [python(), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    must_quietly([*pip, "install", "--progress-bar", "off", "-e", ".[dev]"])
    stamp.write_text(wanted)


def find_newer_python() -> str | None:
    """Return a Python on PATH that is new enough, whatever ``python3`` means here."""
    found = (shutil.which(f"python3.{minor}") for minor in range(14, 10, -1))
    return next(filter(None, found), None)


def explain_missing_venv() -> None:
    """End with the command to run when this Python cannot make environments."""
    try:
        import ensurepip  # noqa: F401, PLC0415 - only whether it is there
        import venv  # noqa: F401, PLC0415
    except ImportError:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        sys.exit(
            fail(f"this Python cannot make environments.  {sudo()}apt-get install -y {package}")
        )


def find_node_problem() -> str:
    """Return what is wrong with node and npm, with the command that mends it, or ''."""
    node, npm = shutil.which("node"), shutil.which("npm")
    floor = ".".join(map(str, NODE_FLOOR))
    if node is None or npm is None:
        lacking = "node" if node is None else "npm"
        return f"{lacking} is missing (node >= {floor} is needed). Install:  {sudo()}{NODE_HINT}"
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    version = answer.stdout.strip().lstrip("v")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < NODE_FLOOR:
        return f"node {version} is older than {floor}. Install:  {sudo()}{NODE_HINT}"
    return ""


def prepare_client() -> str:
    """Install and build client-js; return what went wrong, or ''."""
    lock = CLIENT / "package-lock.json"
    if not lock.is_file():
        return f"{lock.relative_to(ROOT)} is missing"
    stamp = CLIENT / "node_modules" / ".stamp"
    wanted = digest(lock, "")
    if not stamp.is_file() or stamp.read_text() != wanted:
        say("installing client-js (npm ci)")
        if call(["npm", "ci", "--no-audit", "--no-fund"], folder=CLIENT) != 0:
            return "npm ci failed in client-js"
        stamp.write_text(wanted)
    say("building client-js")
    return "" if call(["npm", "run", "build"], folder=CLIENT) == 0 else "client-js does not build"


def find_chromium() -> str | None:
    """Return the path of Chromium; install it where this is root on Debian."""
    named = os.environ.get("CHROMIUM_PATH")
    for candidate in (named, "/usr/bin/chromium"):
        if candidate and Path(candidate).exists():
            return candidate
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if not (is_root and Path("/etc/debian_version").exists() and shutil.which("apt-get")):
        return None
    say("installing Chromium for the browser tests (apt-get, about 30 s)")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    call(["apt-get", "update"], environment=quiet)
    call(
        ["apt-get", "install", "-y", "--no-install-recommends", "chromium"],
        environment=quiet,
    )
    return shutil.which("chromium")


# -- small pieces ----------------------------------------------------------------------


def call(
    command: list[str], *, folder: Path = ROOT, environment: dict[str, str] | None = None
) -> int:
    """Run `command` with its output shown; return its exit code (127 if it is not there)."""
    try:
        merged = {**os.environ, **(environment or {})}
        return subprocess.run(command, cwd=folder, env=merged, check=False).returncode
    except FileNotFoundError:
        return fail(f"{command[0]} is not there", code=127)
    except KeyboardInterrupt:
        return 130


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


def digest(path: Path, extra: str) -> str:
    """Return a hash of a file's content and `extra`."""
    return hashlib.sha256(path.read_bytes() + extra.encode()).hexdigest()


def python() -> str:
    """Return the path of the environment's Python."""
    return str(BIN / "python")


def tool(name: str) -> str:
    """Return the path of a tool installed in the environment."""
    return str(BIN / name)


def sudo() -> str:
    """Return what a printed command must begin with for this user."""
    return "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "sudo "


def is_ci() -> bool:
    """Whether this runs where nothing may be skipped."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have an older one
        newer = find_newer_python()
        if newer is None:
            sys.exit(
                fail(f"Python 3.11 or newer is needed.  {sudo()}apt-get install -y python3-venv")
            )
        os.execv(newer, [newer, *sys.argv])
    sys.exit(main())
