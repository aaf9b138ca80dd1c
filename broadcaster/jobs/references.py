"""
Fields that refer to a row of a database: `Ref`.

::

    class ShipOrder(Job):
        order: Ref[Order]

        def handle(self) -> None:
            self.order.value.ship()

    ShipOrder(order=Ref(order)).dispatch()

The payload carries the registered name of the model's class, the primary key and the name
of the database, never the row: it is read again before `handle` runs. What can be referred
to is known to an adapter (``broadcaster.integrations.django``, ``sqlalchemy``), which
enters itself with `models.add`.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

import msgspec

from broadcaster.errors import InvalidJob, ModelMissing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

M = TypeVar("M")

Key = int | str | list[Any]
"""A primary key in JSON types; a list for one of several columns."""


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """
    One row, as a payload names it.

    Attributes:
        model: registered name of its class, as its adapter writes it.
        key: its primary key.
        using: name of the database; "" is the default one.
    """

    model: str
    key: Key
    using: str = ""


class ModelAdapter(Protocol):
    """What a database library does for `Ref`."""

    def name_of(self, model: type) -> str | None:
        """Return the registered name of a class, the same in every process; None: not its."""
        ...

    def reference(self, instance: object) -> Reference | None:
        """
        Return what names a saved row; None if it is no row of this library.

        Raises:
            InvalidJob: it has no primary key yet.
        """
        ...

    def load(self, reference: Reference) -> object | None:
        """Return the row, read anew, or None if it is gone; blocking."""
        ...

    async def aload(self, reference: Reference) -> object | None:
        """See `load`."""
        ...


class Ref(Generic[M]):
    """
    A reference to one row.

    Made of a row (``Ref(order)``) or of its key (``Ref.to(Order, 7)``).

    Attributes:
        reference: what the payload carries.
    """

    __slots__ = ("_value", "reference")

    reference: Reference
    _value: M | None

    def __init__(self, value: M) -> None:
        self.reference = models.reference(value)
        self._value = value

    @classmethod
    def to(cls, model: type[M], key: Key, *, using: str = "") -> Ref[M]:
        """Return a reference to the row of `model` with this primary key, without reading it."""
        return cls.named(Reference(models.name_of(model), key, using))

    @classmethod
    def named(cls, reference: Reference) -> Ref[M]:
        """Return a reference to what `reference` names, without reading it."""
        made = object.__new__(cls)
        made.reference = reference
        made._value = None
        return made

    @property
    def value(self) -> M:
        """
        The row. Inside `handle` it was just read.

        Raises:
            LookupError: it was not loaded: outside of a running job, load it yourself.
        """
        if self._value is None:
            raise LookupError(
                f"{self!r} is not loaded: rows are read before handle() runs; "
                "elsewhere await ref.aload(), or ref.load()"
            )
        return self._value

    @property
    def key(self) -> Key:
        """The primary key."""
        return self.reference.key

    def loaded(self, value: object) -> None:
        """Take the row, which was just read."""
        self._value = cast("M", value)

    def load(self) -> M:
        """
        Read the row; blocking.

        Raises:
            ModelMissing: it is gone.
        """
        self._value = cast("M", models.load(self.reference))
        return self._value

    async def aload(self) -> M:
        """See `load`."""
        self._value = cast("M", await models.aload(self.reference))
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash((self.reference.model, str(self.reference.key), self.reference.using))

    def __repr__(self) -> str:
        named = self.reference
        return f"Ref({named.model} {named.key!r}{f' in {named.using}' if named.using else ''})"


class Models:
    """The adapters of this process, asked in the order in which they entered."""

    def __init__(self) -> None:
        self._adapters: dict[str, ModelAdapter] = {}

    def add(self, prefix: str, adapter: ModelAdapter) -> None:
        """
        Enter `adapter`; one of the same prefix is replaced.

        Args:
            prefix: what the names that it writes begin with, before a colon: ``django``.
        """
        self._adapters[prefix] = adapter

    def reference(self, instance: object) -> Reference:
        """
        Return what names `instance`.

        Raises:
            InvalidJob: no adapter knows it, or it was never saved.
        """
        for adapter in self._adapters.values():
            reference = adapter.reference(instance)
            if reference is not None:
                return reference
        raise InvalidJob(
            f"Ref cannot refer to {type(instance).__name__}: no adapter knows it; "
            "import broadcaster.integrations.django, or .sqlalchemy and set it up"
        )

    def name_of(self, model: type) -> str:
        """
        Return the registered name of a class.

        Raises:
            InvalidJob: no adapter knows it.
        """
        names = (adapter.name_of(model) for adapter in self._adapters.values())
        name = next((name for name in names if name is not None), None)
        if name is None:
            raise InvalidJob(
                f"Ref cannot refer to {model.__name__}: no adapter knows it; "
                "import broadcaster.integrations.django, or .sqlalchemy and set it up"
            )
        return name

    def load(self, reference: Reference) -> object:
        """
        Read a row; blocking.

        Raises:
            ModelMissing: it is gone.
            InvalidJob: no adapter has this name.
        """
        row = self._of(reference).load(reference)
        return _there(row, reference)

    async def aload(self, reference: Reference) -> object:
        """See `load`."""
        row = await self._of(reference).aload(reference)
        return _there(row, reference)

    def _of(self, reference: Reference) -> ModelAdapter:
        prefix = reference.model.partition(":")[0]
        adapter = self._adapters.get(prefix)
        if adapter is None:
            raise InvalidJob(
                f"a job refers to {reference.model!r}, and no adapter {prefix!r} is set up here"
            )
        return adapter


_refers: WeakKeyDictionary[type, bool] = WeakKeyDictionary()

models = Models()
"""What `Ref` can refer to in this process."""


def encode_reference(value: object) -> object:
    """
    Return the JSON form of a `Ref`; for encoders that meet what they do not know.

    Raises:
        NotImplementedError: it is something else.
    """
    if not isinstance(value, Ref):
        raise NotImplementedError(f"an object of type {type(value).__name__} has no JSON form")
    return msgspec.to_builtins(value.reference)


def decode_reference(kind: Any, value: object) -> object:
    """
    Return the `Ref` that `value` is the JSON form of; for decoders that meet a custom type.

    Raises:
        NotImplementedError: `kind` is another type.
        ValueError: it names another model than ``Ref[Model]`` does, or is no reference.
    """
    if kind is not Ref and typing.get_origin(kind) is not Ref:
        raise NotImplementedError(f"{kind!r} cannot be a field of a job")
    if isinstance(value, Ref):
        return cast("object", value)
    reference = msgspec.convert(value, Reference)
    for model in typing.get_args(kind):
        if (
            isinstance(model, type)
            and model is not Any
            and models.name_of(model) != reference.model
        ):
            raise ValueError(f"it refers to {reference.model}, not to {models.name_of(model)}")
    return Ref[Any].named(reference)


def references_in(values: Mapping[str, object]) -> Sequence[Ref[Any]]:
    """Return the references among the fields of a job, those in what its fields hold included."""
    return [found for value in values.values() for found in _found(value)]


def has_references(job: type) -> bool:
    """Whether a field of the class may hold a reference; other jobs need no look at values."""
    known = _refers.get(job)
    if known is None:
        known = _refers[job] = _may_refer(job)
    return known


def _may_refer(job: type) -> bool:
    try:
        return _mentions(job, set())
    except NameError:
        return True


def _mentions(hint: object, seen: set[object]) -> bool:
    """Whether a value of this type may hold a reference; `seen` are classes that were looked at."""
    if hint is Ref or typing.get_origin(hint) is Ref:
        return True
    parts = list(typing.get_args(hint))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and hint not in seen:
        seen.add(hint)
        hints = typing.get_type_hints(hint)
        parts += (hints[field.name] for field in dataclasses.fields(hint))
    return any(_mentions(part, seen) for part in parts)


def _found(value: object) -> Sequence[Ref[Any]]:
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict):
        items = cast("dict[object, object]", value)
        return [found for each in items.values() for found in _found(each)]
    if isinstance(value, list | tuple | set | frozenset):
        return [found for each in cast("list[object]", value) for found in _found(each)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return references_in(
            {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        )
    return []


def _there(row: object | None, reference: Reference) -> object:
    if row is None:
        raise ModelMissing(
            f"{reference.model} {reference.key!r} is gone", model=reference.model, key=reference.key
        )
    return row
