"""
Feed inputs to every parser: ``python -m tests.fuzz.run --inputs 1000000`` (`make fuzz`).

Each example that Hypothesis builds (near-valid, by structure) is checked, and with it a
batch of cheap mutations. What breaks a promise is made smaller, written into
``tests/fuzz/corpus/<target>/`` and printed with the command that tries it again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz import http_targets, node_targets, text_targets, wire_targets
from tests.fuzz.mutation import mutate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        *wire_targets.TARGETS,
        *text_targets.TARGETS,
        *node_targets.TARGETS,
        *http_targets.TARGETS,
    )
}
CORPUS = Path(__file__).parent / "corpus"
BATCH = 50
SMALLER_TRIES = 2_000


@dataclass(slots=True)
class Failure:
    """An input that broke a promise."""

    target: str
    data: bytes
    error: BaseException


@dataclass(slots=True)
class Outcome:
    """What became of one target."""

    target: str
    inputs: int
    seconds: float
    kinds: int
    failure: Failure | None


def corpus_of(target: Target) -> list[Path]:
    return sorted((CORPUS / target.name).glob("*.bin"))


def fuzz(target: Target, inputs: int, seed: int) -> Outcome:
    """Check about `inputs` inputs, reproducibly."""
    start = time.perf_counter()
    random = Random(f"{seed} {target.name}")
    known = [path.read_bytes() for path in corpus_of(target)]
    seeds = [*target.seeds, *known]
    count = 0
    kinds: set[str] = set()
    failure: Failure | None = None

    def check(data: bytes) -> None:
        nonlocal count, failure
        if failure is not None:  # Hypothesis is not told: making smaller is ours, and quicker
            return
        count += 1
        try:
            outcome = target.check(data)
        except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
            failure = Failure(target.name, data, error)
            return
        if len(kinds) < 10_000:
            kinds.add(repr(outcome))

    @hypothesis.seed(seed)
    @settings(
        max_examples=max(inputs // BATCH, 1),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(target.inputs)
    def examples(data: bytes) -> None:
        check(data)
        for _ in range(BATCH - 1):
            origin = data if random.random() < 0.5 else random.choice(seeds)
            check(mutate(origin, random, seeds))

    before = answers(target, seeds)
    for data in seeds:
        check(data)
    examples()
    while count < inputs and failure is None:  # Hypothesis stops where it has seen everything
        check(mutate(random.choice(seeds), random, seeds))
    if failure is not None:
        failure.data = smaller(target, failure.data)
    else:
        assert before == answers(target, seeds), f"{target.name} answers otherwise than before"
    return Outcome(target.name, count, time.perf_counter() - start, len(kinds), failure)


def answers(target: Target, seeds: Sequence[bytes]) -> list[str]:
    """What becomes of known inputs: the same before and after, or state leaks."""
    found: list[str] = []
    for data in seeds:
        try:
            found.append(repr(target.check(data)))
        except Exception as error:  # noqa: BLE001 - it is reported where it is found again
            found.append(repr(error))
    return found


def smaller(target: Target, data: bytes) -> bytes:
    """Return a shorter input that fails too."""

    def fails(candidate: bytes) -> bool:
        try:
            target.check(candidate)
        except Exception:  # noqa: BLE001 - whatever it raises is a failure
            return True
        return False

    tries, size = 0, max(len(data) // 2, 1)
    while size and tries < SMALLER_TRIES:
        at = 0
        while at < len(data) and tries < SMALLER_TRIES:
            tries += 1
            candidate = data[:at] + data[at + size :]
            if fails(candidate):
                data = candidate
            else:
                at += size
        size //= 2
    return data


def keep(failure: Failure) -> Path:
    """Write the input into the corpus; return where."""
    name = hashlib.sha256(failure.data).hexdigest()[:12]
    path = CORPUS / failure.target / f"{name}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(failure.data)
    return path


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def report(outcomes: Sequence[Outcome], seed: int) -> int:
    """Print the end of a run; return the exit code."""
    total = sum(outcome.inputs for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    rate = total / max(seconds, 1e-9)
    say(f"{'total':<18}{total:>10,} inputs{seconds:>9.1f} s{rate:>10,.0f} /s, seed {seed}")
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    for failure in failures:
        path = keep(failure)
        say(f"\n{failure.target} FAILED on {failure.data[:200]!r}")
        say("".join(traceback.format_exception(failure.error)))
        say(f"again: PYTHONPATH=.:auth {sys.executable} -m tests.fuzz.run --replay {path}")
    say("FAILED" if failures else "no input broke a promise")
    return 1 if failures else 0


def replay(path: Path) -> int:
    """Check one input of the corpus; a traceback says how it fails."""
    target = TARGETS[path.resolve().parent.name]
    say(repr(target.check(path.read_bytes())))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all targets together")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this")
    parser.add_argument("--replay", type=Path, help="one file of the corpus")
    options = parser.parse_args(arguments)
    if options.replay:
        return replay(options.replay)
    seed = options.seed if options.seed is not None else SystemRandom().randrange(2**32)
    chosen = [TARGETS[name] for name in options.target or TARGETS]
    each = -(-options.inputs // len(chosen))
    outcomes: list[Outcome] = []
    for target in chosen:
        outcome = fuzz(target, each, seed)
        outcomes.append(outcome)
        say(
            f"{outcome.target:<18}{outcome.inputs:>10,} inputs{outcome.seconds:>9.1f} s"
            f"{outcome.kinds:>10,} kinds of outcome{'   FAILED' if outcome.failure else ''}"
        )
    return report(outcomes, seed)


if __name__ == "__main__":
    sys.exit(main())
