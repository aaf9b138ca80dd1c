"""docs/authorization.md says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from broadcaster.contracts.apps import App
from broadcaster.protocol.signing import sign_channel
from broadcaster.protocol.subscription_auth import verify_signed

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/authorization.md").read_text()
SOURCES = [
    *sorted((ROOT / "auth/broadcaster_auth").glob("*.py")),
    ROOT / "broadcaster/protocol/subscription_auth.py",
    ROOT / "broadcaster/protocol/hmac_verifier.py",
]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def test_every_code_of_a_refusal_is_documented() -> None:
    codes = {
        code
        for path in SOURCES
        for code in re.findall(r'code="(\w+)"', path.read_text())
        if f"`{code}`" not in TEXT
    }

    assert codes == set()


@pytest.mark.parametrize("block", [text for kind, text in BLOCKS if kind == "python"])
def test_every_python_example_is_python(block: str) -> None:
    compile(block, "docs/authorization.md", "exec")


def test_the_example_of_claims_is_one_that_the_gateway_reads() -> None:
    (data,) = (text.strip() for kind, text in BLOCKS if kind == "json")
    auth = sign_channel("k", "s", socket_id="1.2", channel="private-x", channel_data=data)

    verified = verify_signed(
        App(id="1", key="k", secret="s"),
        auth=auth,
        socket_id="1.2",
        channel="private-x",
        channel_data=data,
        now=0,
    )

    claims = json.loads(data)
    assert verified.user_id == claims["user_id"]
    assert verified.issued_at == claims["broadcaster"]["iat"]
    assert verified.expires_at == claims["broadcaster"]["exp"]
