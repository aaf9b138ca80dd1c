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

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

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


models = Models()
"""What `Ref` can refer to in this process."""


def references_in(values: Mapping[str, object]) -> Sequence[Ref[Any]]:
    """Return the references among the fields of a job, those in lists and dicts included."""
    return [found for value in values.values() for found in _found(value)]


def _found(value: object) -> list[Ref[Any]]:
    if isinstance(value, Ref):
        return [value]
    if isinstance(value, dict):
        items = cast("dict[object, object]", value)
        return [found for each in items.values() for found in _found(each)]
    if isinstance(value, list | tuple):
        return [found for each in cast("list[object]", value) for found in _found(each)]
    return []


def _there(row: object | None, reference: Reference) -> object:
    if row is None:
        raise ModelMissing(
            f"{reference.model} {reference.key!r} is gone", model=reference.model, key=reference.key
        )
    return row
