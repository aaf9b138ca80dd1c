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
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Run as a script, this finds its neighbours; `python -I` too knows only the standard library.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.running import ROOT, Group, call, fail, is_ci, must, must_quietly, run_groups, say

VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
CLIENT = ROOT / "client-js"
NODE_FLOOR = (20, 19)
# Tests without a server, a browser or a process of their own; tests that may run beside
# others, since they wait more than they compute; and tests that may not.
PURE = "not redis and not process and not browser and not alone"
BESIDE = "(redis or process or browser) and not alone"
ALONE = "alone"
# Each process that runs tests has its own servers.
MOST_AT_ONCE = 8
CACHES = (".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "build", "dist")

VERBS = ["dev", "test", "check", "build", "bench", "fuzz", "hostile", "chaos", "clean"]
# Verbs that start no program which might know more options.
CLOSED = ("test", "check", "clean")
# Verbs that are a program of their own, with options of their own.
PROGRAMS = {
    "fuzz": "tests.fuzz.run",
    "hostile": "benchmarks.hostile",
    "chaos": "tests.chaos.run",
}
SOURCES = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "auth")))}

NODE_HINT = "apt-get install -y nodejs npm && npm install -g n && n 22"
APT_HINTS = {"make": "apt-get install -y make", "gcc": "apt-get install -y gcc libc6-dev"}


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
    if rest and options.verb in CLOSED:
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
    if options.verb in PROGRAMS:
        return call([python(), "-m", PROGRAMS[options.verb], *rest], environment=SOURCES)
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
    """Run the benchmarks against their limit in C; with ``queue``, those of the queue."""
    if rest[:1] == ["queue"] or rest[:2] == ["--quick", "queue"]:
        rest.remove("queue")
        return call([python(), "-m", "benchmarks.queue.compare", *rest])
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
    return [pytest("pytest, pure", PURE, at_once=cores())]


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
        *quick_groups(),
        pytest("pytest, servers and processes", BESIDE, environment, at_once=waiting_tests()),
        pytest("pytest, one at a time", ALONE, environment),
        Group("tsc", ["npm", "run", "--silent", "typecheck"], CLIENT, skip=node_problem),
        vitest("unit", {}, node_problem),
        vitest("node", {}, node_problem),
        vitest("browser", environment, browser_problem),
    ]
    if node_problem:  # pyright runs on node
        groups[3].skip = node_problem
    return groups


def pytest(
    name: str, marks: str, environment: dict[str, str] | None = None, *, at_once: int = 1
) -> Group:
    """Return the group that runs the tests with `marks`, in `at_once` processes."""
    command = [python(), "-m", "pytest", "-q", "-ra", "--durations=15", "--durations-min=1"]
    if at_once > 1:
        command += ["-n", str(at_once), "--dist", "worksteal"]
    # Each process imports every test: without bytecode that is most of a short group's time.
    known = {"PYTHONDONTWRITEBYTECODE": "", **(environment or {})}
    return Group(name, [*command, "-m", marks], environment=known)


def cores() -> int:
    """Return how many tests that compute run at once."""
    return min(os.cpu_count() or 1, MOST_AT_ONCE)


def waiting_tests() -> int:
    """Return how many tests that wait run at once."""
    return min(2 * cores(), MOST_AT_ONCE)


def vitest(project: str, environment: dict[str, str], skip: str) -> Group:
    """Return the group that runs one of the client's vitest projects."""
    command = ["npm", "run", "--silent", f"test:{project}"]
    known = {"BROADCASTER_PYTHON": python(), **environment}
    return Group(f"vitest, {project}", command, CLIENT, known, skip)


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


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have an older one
        newer = find_newer_python()
        if newer is None:
            sys.exit(
                fail(f"Python 3.11 or newer is needed.  {sudo()}apt-get install -y python3-venv")
            )
        os.execv(newer, [newer, *sys.argv])
    sys.exit(main())
