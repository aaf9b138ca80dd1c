"""S5: nothing can be learnt from how long a comparison takes."""

from __future__ import annotations

import ast
import hmac
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broadcaster.errors import InvalidSignature
from broadcaster.protocol import signing

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SECRETS = ("secret", "digest", "signature", "hmac", "md5", "mac", "auth")
# Shapes and presence, which are no secrets: the length of a digest, whether one was given.
HARMLESS = (ast.Constant, ast.List, ast.Tuple)
# Settings against settings, at start: nobody waits for the answer.
ALLOWED = {"text == secret", "key == app_secret"}


def comparisons() -> Iterator[tuple[str, ast.Compare]]:
    for folder in ("broadcaster/protocol", "broadcaster/gateway", "auth/broadcaster_auth"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Compare):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def names(node: ast.expr) -> set[str]:
    """The last word of what is compared: a name or an attribute, not what a call makes of it."""
    if isinstance(node, ast.Name):
        return {node.id.lower()}
    if isinstance(node, ast.Attribute):
        return {node.attr.lower()}
    return set()


def test_s05_secrets_are_never_compared_with_an_operator() -> None:
    """`==` on bytes stops at the first that differs."""
    found = [
        f"{where}: {ast.unparse(node)}"
        for where, node in comparisons()
        if isinstance(node.ops[0], ast.Eq | ast.NotEq)
        and ast.unparse(node) not in ALLOWED
        and not any(isinstance(side, HARMLESS) for side in (node.left, *node.comparators))
        and any(
            word.strip("_").split("_")[-1] in SECRETS
            for side in (node.left, *node.comparators)
            for word in names(side)
        )
    ]

    assert found == []


class Watched:
    """`hmac.compare_digest`, and what it was given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given: list[tuple[bytes, bytes]] = []
        real = hmac.compare_digest

        def compare(one: bytes, other: bytes) -> bool:
            self.given.append((one, other))
            return real(one, other)

        monkeypatch.setattr(hmac, "compare_digest", compare)


@pytest.mark.parametrize("right_up_to", [0, 1, 32, 63])
def test_s05_a_wrong_signature_costs_the_same_wherever_it_goes_wrong(
    right_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comparison in constant time, of bytes of the same length."""
    auth = signing.sign_channel("k", "s", socket_id="1.1", channel="private-x")
    key, digest = auth.split(":")
    wrong = "".join("1" if c == "0" else "0" for c in digest[right_up_to:])
    watched = Watched(monkeypatch)

    with pytest.raises(InvalidSignature):
        signing.verify_channel(
            f"{key}:{digest[:right_up_to]}{wrong}",
            key="k",
            secret="s",
            socket_id="1.1",
            channel="private-x",
            channel_data=None,
        )

    assert all(isinstance(side, bytes) for pair in watched.given for side in pair)
    assert [len(one) == len(other) == 64 for one, other in watched.given][-1]
    assert len(watched.given) == 2, "the key too, and both always"


def test_s05_a_signed_request_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    params = signing.sign_request(
        "k", "s", method="POST", path="/p", body=b"{}", params={}, now=1_000.0
    )
    watched = Watched(monkeypatch)

    with pytest.raises(InvalidSignature):
        signing.verify_request(
            params={**params, "auth_signature": "0" * 64},
            key="k",
            secret="s",
            method="POST",
            path="/p",
            body=b"{}",
            now=1_000.0,
        )

    assert all(isinstance(side, bytes) for pair in watched.given for side in pair)
    assert watched.given
