"""The description of the HTTP API says what the routes, the codes and the page on errors say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from broadcaster.protocol.http_query import Resource, parse_path
from broadcaster.protocol.openapi import document, encoded_document
from broadcaster.protocol.openapi_parts import CODES

PAGES = Path(__file__).parents[2] / "docs"
DOCUMENT = document()
OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
API = [one for one in OPERATIONS if one[0].startswith(("/apps/", "/users/"))]
SAMPLES = {"app_id": "1234", "channel": "presence-a", "user_id": "ada"}


def references(value: Any) -> set[str]:
    """Every ``$ref`` below `value`."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set()


def test_it_is_json_and_the_same_each_time() -> None:
    assert json.loads(encoded_document()) == DOCUMENT
    assert encoded_document() is encoded_document()


def test_every_route_is_described_with_its_method_and_nothing_else_is() -> None:
    found = {
        (target.resource, method.upper())
        for path, method, _ in API
        if (target := parse_path(path.format(**SAMPLES)))
    }

    assert len(API) == len(Resource)
    assert found == {(resource, resource.method) for resource in Resource}


def test_every_code_of_the_page_on_errors_is_here_with_its_status() -> None:
    section = (PAGES / "errors.md").read_text().split("### Codes\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", section, re.MULTILINE)

    assert {(code, int(status)) for code, status in rows} == {
        (code, status) for status, (_, codes) in CODES.items() for code in codes
    }


@pytest.mark.parametrize(("path", "method", "operation"), API)
def test_every_route_names_its_parameters_and_its_refusals(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    parameters = [resolved(one) for one in operation["parameters"]]
    in_path = {one["name"] for one in parameters if one["in"] == "path"}

    assert in_path == set(re.findall(r"{(\w+)}", path))
    assert {"auth_key", "auth_timestamp", "auth_version"} <= {one["name"] for one in parameters}
    assert {"400", "401", "403", "503"} <= set(operation["responses"])
    assert ("429" in operation["responses"]) == (operation["tags"] == ["publish"])
    assert ("requestBody" in operation) == (method == "post")


def test_names_of_operations_are_unique() -> None:
    names = [operation["operationId"] for _, _, operation in OPERATIONS]

    assert len(set(names)) == len(names)


def test_references_lead_somewhere_and_everything_is_referred_to() -> None:
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
    }

    # An operation is never refused for the method of another one.
    unused = {"#/components/securitySchemes/signature", "#/components/responses/Refused405"}
    assert components - references(DOCUMENT) == unused
    assert references(DOCUMENT) <= components


def test_the_page_on_the_api_has_every_route() -> None:
    page = (PAGES / "http-api.md").read_text()
    names = {"app_id": "{id}", "channel": "{channel}", "user_id": "{user}"}

    missing = [
        f"{method.upper()} {path.format(**names)}"
        for path, method, _ in API
        if f"{method.upper()} {path.format(**names)}" not in page
    ]
    assert missing == []


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """`part`, or what it refers to."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    found: dict[str, Any] = DOCUMENT["components"][kind][name]
    return found
