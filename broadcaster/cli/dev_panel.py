"""What ``broadcaster dev`` says first: one panel of text with everything to copy."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 92
_BOLD, _DIM, _GREEN, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """
    What runs where.

    Attributes:
        app_url: the page: the demo's, or the user's application's; None without either.
        app_label: what to call it.
        gateway_host: where browsers connect.
        redis: which server is in use, and why that one.
        try_channel: where the page (or ``broadcaster listen``) would show an event.
        try_listening: whether the page would not, so that it takes ``broadcaster listen``.
        program: how a reader of this terminal calls this program.
        problems: what is not as wished for, such as a port that was taken.
        scheduled: jobs that are queued when they are due.
    """

    app_url: str | None
    app_label: str
    gateway_host: str
    gateway_port: int
    app_id: str
    key: str
    redis: str
    folder: str
    try_channel: str = "orders"
    try_listening: bool = False
    program: str = "broadcaster"
    problems: tuple[str, ...] = ()
    scheduled: int = 0

    def text(self, *, colour: bool) -> str:
        """Return the panel as it is printed."""
        bold, dim, green, reset = (_BOLD, _DIM, _GREEN, _RESET) if colour else ("",) * 4
        rows = [("Gateway", f"http://{self.gateway_host}:{self.gateway_port}")]
        if self.app_url:
            rows.insert(0, (self.app_label, self.app_url))
        rows += [
            ("App", f"id {self.app_id}, key {self.key}  (secret in {self.folder})"),
            ("Redis", self.redis),
        ]
        if self.scheduled:
            what = "1 job" if self.scheduled == 1 else f"{self.scheduled} jobs"
            rows.append(("Schedule", f"{what}, run when due; --no-schedule turns that off"))
        lines = [f"{bold}broadcaster dev{reset}  is running; Ctrl-C stops everything", ""]
        lines += [f"  {label:<9}{green}{value}{reset}" for label, value in rows]
        lines += [f"  {'Note':<9}{problem}" for problem in self.problems]
        lines += ["", f"  {dim}Paste into the .env of your front-end:{reset}"]
        lines += [f"    {line}" for line in self.front_end_env()]
        terminals = "two more terminals" if self.try_listening else "another terminal"
        lines += ["", f"  {dim}Try, in {terminals} of this folder:{reset}"]
        lines += [f"    {line}" for line in self.try_commands()]
        lines += ["", f"  {dim}For production: broadcaster serve  and  broadcaster work{reset}"]
        rule = "─" * WIDTH
        return "\n".join([rule, *lines, rule])

    def front_end_env(self) -> list[str]:
        """Return the lines that Echo's ``reverb`` broadcaster reads through Vite."""
        return [
            f"VITE_REVERB_APP_KEY={self.key}",
            f"VITE_REVERB_HOST={self.gateway_host}",
            f"VITE_REVERB_PORT={self.gateway_port}",
            "VITE_REVERB_SCHEME=http",
        ]

    def try_commands(self) -> list[str]:
        """Return commands that show something at once."""
        data = '{"order_id": 7, "status": "shipped"}'
        listen = [f"{self.program} listen {self.try_channel}"] if self.try_listening else []
        return [*listen, f"{self.program} trigger {self.try_channel} OrderShipped '{data}'"]

    def fields(self) -> dict[str, object]:
        """Return the panel as one record for machines; secrets are not in it."""
        return {
            "event": "ready",
            "msg": "broadcaster dev is running",
            "app_url": self.app_url,
            "gateway_url": f"http://{self.gateway_host}:{self.gateway_port}",
            "app_id": self.app_id,
            "key": self.key,
            "redis": self.redis,
            "problems": list(self.problems),
            "scheduled": self.scheduled,
        }
