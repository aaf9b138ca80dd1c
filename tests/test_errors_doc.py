"""Every stable code is explained on the page on errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from broadcaster import errors
from broadcaster.protocol.close_codes import CLOSE_CODES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
HTTP_MODULES = [
    "broadcaster/protocol/http_api.py",
    "broadcaster/protocol/http_query.py",
    "broadcaster/protocol/idempotency.py",
    "broadcaster/protocol/signing.py",
    "broadcaster/gateway/answers.py",
    "broadcaster/gateway/bodies.py",
    "broadcaster/gateway/credentials.py",
    "broadcaster/gateway/http_api.py",
    "broadcaster/gateway/publish_rate.py",
    "broadcaster/gateway/publishing.py",
    "broadcaster/gateway/reading.py",
    "broadcaster/gateway/status.py",
]
SUBSCRIPTION_MODULES = [
    "broadcaster/protocol/session.py",
    "broadcaster/protocol/sign_in.py",
    "broadcaster/protocol/subscription.py",
    "broadcaster/protocol/subscription_auth.py",
    "broadcaster/protocol/hmac_verifier.py",
    "auth/broadcaster_auth/tokens.py",
    "auth/broadcaster_auth/verifier.py",
]


def section(title: str) -> str:
    """The text of one second-level section."""
    [text] = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def explained(title: str) -> set[str]:
    """The codes that have a row of their own in that section."""
    return set(re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE))


def exceptions() -> dict[str, str]:
    """Every exception of ours with its code."""
    found = {}
    waiting: list[type[errors.BroadcasterError]] = [errors.BroadcasterError]
    while waiting:
        exception = waiting.pop()
        if exception.__module__ == errors.__name__:
            found[exception.__name__] = exception.code
        waiting.extend(exception.__subclasses__())
    return found


def codes_in(path: str) -> set[str]:
    """String literals that a module passes as ``code``, or as second argument of `refuse`."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    values = [word.value for call in calls for word in call.keywords if word.arg == "code"]
    values += [
        call.args[1]
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "refuse"
    ]
    return {
        value.value
        for value in values
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }


@pytest.mark.parametrize(("name", "code"), sorted(exceptions().items()))
def test_every_exception_is_explained(name: str, code: str) -> None:
    assert f"| `{code}` | `{name}` |" in section("Exceptions")


@pytest.mark.parametrize("path", HTTP_MODULES)
def test_every_code_of_the_http_api_is_explained(path: str) -> None:
    assert codes_in(path) <= explained("HTTP API")


def test_the_page_explains_no_code_that_does_not_exist() -> None:
    raised = set().union(*map(codes_in, HTTP_MODULES)) | set(exceptions().values())
    # Chosen by an expression, so no literal argument.
    raised |= {"malformed_path", "revocations_full"}

    assert explained("HTTP API") <= raised
    assert explained("Exceptions") <= raised


@pytest.mark.parametrize("path", SUBSCRIPTION_MODULES)
def test_every_code_of_a_refused_subscription_is_explained(path: str) -> None:
    assert codes_in(path) <= explained("WebSocket")


def test_every_close_code_is_explained_with_what_clients_do() -> None:
    rows = [
        f"| {code.code} | `{code.name}` | {code.message} | {code.reaction.value} |"
        for code in CLOSE_CODES
    ]

    assert [row for row in rows if row not in section("WebSocket")] == []


def test_all_codes_come_before_the_exact_answers() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)

    assert headings == ["HTTP API", "WebSocket", "Exceptions", "Appendix: exact answers"]
    answers = section("Appendix: exact answers")
    assert re.findall(r"^### (.*)$", answers, re.MULTILINE) == ["Over HTTP", "On a socket"]
    # No row of a code, which other tests would look for in the sections above.
    assert not explained("Appendix: exact answers")
