"""Actions that write down how they were done."""

from __future__ import annotations


class Noted:
    """See `broadcaster.jobs.after_commit.Action`."""

    def __init__(
        self, done: list[str], name: str = "sent", failure: BaseException | None = None
    ) -> None:
        self._done = done
        self._name = name
        self._failure = failure

    def run(self) -> None:
        self._note(self._name)

    async def arun(self) -> None:
        self._note(f"a{self._name}")

    def _note(self, what: str) -> None:
        self._done.append(what)
        if self._failure is not None:
            raise self._failure
