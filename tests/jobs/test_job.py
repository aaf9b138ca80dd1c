from __future__ import annotations

import dataclasses
import types
import uuid
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.errors import InvalidJob
from broadcaster.jobs.job import Job, JobOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ran: list[object] = []


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Address:
    street: str


class Plain(Job):
    def handle(self) -> None:
        ran.append("plain")


class Rich(
    Job, name="shop.Rich", queue="mail", tries=3, backoff=[1, timedelta(seconds=5)], timeout=20
):
    number: int
    when: datetime
    key: uuid.UUID
    colour: Colour
    addresses: dict[int, Address]
    text: str = "hello"

    async def handle(self) -> None:
        ran.append(self)


def rich() -> Rich:
    return Rich(
        number=7,
        when=datetime(2026, 1, 2, tzinfo=UTC),
        key=uuid.UUID(int=5),
        colour=Colour.RED,
        addresses={1: Address("Main")},
    )


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def test_options_stand_beside_the_class() -> None:
    assert Plain.options == JobOptions(name="Plain")
    assert Rich.options == JobOptions(
        name="shop.Rich", queue="mail", tries=3, backoff=(1.0, 5.0), timeout=20.0
    )


def test_a_job_is_a_frozen_dataclass() -> None:
    assert rich() == rich()
    with pytest.raises(dataclasses.FrozenInstanceError):
        rich().number = 8  # type: ignore[misc]  # what the test is about


def test_fields_survive_the_queue() -> None:
    data = rich().encode_fields()

    assert data["addresses"] == {"1": {"street": "Main"}}
    assert Rich.decode_fields(data) == rich()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"number": "7"}, "number"),
        ({"surprise": 1}, "no field 'surprise'"),
        ({"colour": "blue"}, "colour"),
        ({"addresses": {"x": {}}}, "addresses"),
    ],
)
def test_fields_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob, match=message):
        Rich.decode_fields(rich().encode_fields() | change)


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(InvalidJob, match="number"):
        Rich.decode_fields({})


def test_a_value_of_the_wrong_type_is_refused_when_it_is_dispatched() -> None:
    wrong: Any = "seven"

    with pytest.raises(InvalidJob, match="number"):
        dataclasses.replace(rich(), number=wrong).encode_fields()


def test_an_object_without_json_form_is_named() -> None:
    thing: Any = object()

    with pytest.raises(InvalidJob, match=r"shop\.Rich\.number cannot be queued.*pass an id"):
        dataclasses.replace(rich(), number=thing).encode_fields()


def test_a_job_without_handle_is_refused_when_it_is_dispatched() -> None:
    class Half(Job, name="shop.Half"):
        number: int

    with pytest.raises(InvalidJob, match=r"shop\.Half cannot be queued: it has no handle"):
        Half(1).encode_fields()


def test_unknown_options_are_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="no option 'trys' - did you mean 'tries'"):

        class Misspelt(Job, trys=3):  # type: ignore[call-arg]  # what the test is about
            pass


def test_an_option_as_class_attribute_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write class Stray\(Job, tries=\.\.\.\) instead"):

        class Stray(Job):
            tries = 3


def test_a_method_that_would_make_the_job_itself_is_refused() -> None:
    """Fields are frozen, and workers make jobs of what was queued without calling it."""
    with pytest.raises(TypeError, match=r"OwnInit defines __init__\(\).*annotate its fields"):

        class OwnInit(Job):
            def __init__(self, order: int) -> None:
                super().__init__()


def test_a_hook_that_takes_no_error_is_refused() -> None:
    """It would be found out when the first job has failed for good."""
    with pytest.raises(TypeError, match=r"Deaf\.failed is called with the error: .*failed\(self\)"):

        class Deaf(Job):
            def failed(self) -> None: ...  # type: ignore[override]  # that is the mistake


def test_a_class_that_is_made_a_dataclass_again_is_refused() -> None:
    """It would be another class, without the options of the class line."""
    with pytest.raises(TypeError, match="Slotted is a dataclass by itself"):

        @dataclasses.dataclass(slots=True)
        class Slotted(Job, queue="mail"):
            order: int


def test_a_handle_that_yields_is_refused() -> None:
    """Calling it would run nothing, and the job would count as done."""
    with pytest.raises(TypeError, match=r"Yields\.handle yields, so nobody would run it"):

        class Yields(Job):
            def handle(self) -> Iterator[int]:
                yield 1

    with pytest.raises(TypeError, match=r"AsyncYields\.handle yields"):

        class AsyncYields(Job):
            async def handle(self) -> AsyncIterator[int]:
                yield 1


def test_a_field_may_be_called_like_an_option() -> None:
    class Named(Job):
        name: str = "x"

        def handle(self) -> None: ...

    assert Named("y").encode_fields() == {"name": "y"}


@pytest.mark.parametrize("options", [{"tries": -1}, {"timeout": -1}, {"backoff": [-1]}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tries|timeout|backoff"):
        types.new_class("Impossible", (Job,), options)
