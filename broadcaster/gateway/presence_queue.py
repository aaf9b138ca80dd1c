"""
What is to be done in one presence channel of this node, in order.

Bound, however long Redis is away and whatever clients do: for each connection what is under
way, one leave and one join, and a leave for each new lease under which it was registered when
it was gone; one refresh, one finish and one registration that have not begun.
Named policy: a leave takes back a join that has not begun, for together they would change
nothing, and a refresh, finish or registration that has not begun stands for all that are asked
for until it begins.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count, islice, takewhile
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from broadcaster.contracts.presence import Member
    from broadcaster.gateway.connection import Connection

JOIN_BATCH = 16


class JoinOp(NamedTuple):
    """Add a connection; its session waits for the outcome."""

    connection: Connection
    generation: int
    member: Member


class LeaveOp(NamedTuple):
    """Remove a connection."""

    socket_id: str


class FinishOp(NamedTuple):
    """Announce members whose grace is over."""


class RefreshOp(NamedTuple):
    """Read the list again; tell everybody, or only if it differs from what they know."""

    always: bool


class RegisterOp(NamedTuple):
    """Add every member of this node again, under the present lease."""

    announce: bool


Operation: TypeAlias = JoinOp | LeaveOp | FinishOp | RefreshOp | RegisterOp


class PresenceQueue:
    """See the module."""

    __slots__ = ("_joins", "_numbers", "_operations", "_single")

    def __init__(self) -> None:
        self._operations: OrderedDict[int, Operation] = OrderedDict()
        self._numbers = count()
        self._joins: dict[str, int] = {}  # by socket id, those that have not begun
        self._single: dict[type[Operation], int] = {}  # of the others, those that have not

    def __len__(self) -> int:
        return len(self._operations)

    def add(self, operation: Operation) -> None:
        """Do `operation` after all that were added before."""
        if isinstance(operation, JoinOp):
            self._joins[operation.connection.socket_id] = self._append(operation)
        elif isinstance(operation, LeaveOp):
            join = self._joins.pop(operation.socket_id, None)
            if join is None:
                self._append(operation)
            else:
                del self._operations[join]
        else:
            self._add_single(operation)

    def undo(self, socket_id: str) -> None:
        """Remove a connection that came into the list unasked; a waiting join of it comes after."""
        join = self._joins.get(socket_id)
        if join is None:
            self._append(LeaveOp(socket_id))
        else:
            waiting, self._operations[join] = self._operations[join], LeaveOp(socket_id)
            self._joins[socket_id] = self._append(waiting)

    def begin(self) -> list[Operation]:
        """Return the first operation, or the joins that stand at the front together."""
        number, first = next(iter(self._operations.items()))
        if not isinstance(first, JoinOp):
            if self._single.get(type(first)) == number:
                del self._single[type(first)]
            return [first]
        joins = takewhile(lambda one: isinstance(one, JoinOp), self._operations.values())
        begun: list[Operation] = list(islice(joins, JOIN_BATCH))
        for one in begun:
            if isinstance(one, JoinOp):
                self._joins.pop(one.connection.socket_id, None)
        return begun

    def done(self, operations: int) -> None:
        """Forget as many operations at the front; what is not done begins again."""
        for _ in range(operations):
            self._operations.popitem(last=False)

    def _append(self, operation: Operation) -> int:
        number = next(self._numbers)
        self._operations[number] = operation
        return number

    def _add_single(self, operation: FinishOp | RefreshOp | RegisterOp) -> None:
        waiting = self._single.get(type(operation))
        if waiting is None:
            self._single[type(operation)] = self._append(operation)
        elif isinstance(operation, RegisterOp) or (
            isinstance(operation, RefreshOp) and operation.always
        ):
            self._operations[waiting] = operation
