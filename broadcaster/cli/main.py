"""
The ``broadcaster`` command.

Subcommands are imported when they are asked for, so that ``broadcaster version`` does
not pay for a web server. Exit codes: 0 done or stopped on request; 1 failure; 2 wrong
usage; 69 a server cannot be reached; 78 bad configuration.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from broadcaster.errors import BroadcasterError
from broadcaster.protocol.suggestion import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMANDS: Mapping[str, tuple[str, str]] = {
    "dev": ("broadcaster.cli.dev:dev", "Start everything for development, with one Ctrl-C."),
    "serve": ("broadcaster.cli.serve:serve", "Serve WebSockets and the HTTP API."),
    "work": ("broadcaster.cli.work:work", "Run queued jobs and broadcasts."),
    "trigger": ("broadcaster.cli.trigger:trigger", "Broadcast one event."),
    "listen": ("broadcaster.cli.listen:listen", "Show the events of channels as they come."),
    "supervise": ("broadcaster.cli.supervise:supervise", "Keep as many workers as needed."),
    "queue": ("broadcaster.cli.queue:queue", "See, pause, resume and clear queues."),
    "schedule": ("broadcaster.cli.schedule:schedule", "Queue jobs when they are due."),
    "failed": ("broadcaster.cli.failed:failed", "List, show, retry and delete failed jobs."),
    "batch": ("broadcaster.cli.batch:batch_group", "List, show, cancel and retry batches."),
    "token": ("broadcaster.cli.token:token", "Make and check grants."),
    "app": ("broadcaster.cli.app:app_group", "Add, change and remove apps."),
    "webhook": ("broadcaster.cli.webhook:webhook", "Try the receivers of webhooks."),
    "config": ("broadcaster.cli.config:config", "Show settings and where they come from."),
    "version": ("broadcaster.cli.version:version", "Show the version."),
}

ELSEWHERE: Mapping[str, str] = {
    "queue:work": "work",
    "queue:listen": "work",
    "queue:restart": "queue restart",
    "queue:monitor": "queue monitor",
    "queue:clear": "queue clear",
    "queue:pause": "queue pause",
    "queue:resume": "queue resume",
    "queue:failed": "failed list",
    "queue:retry": "failed retry",
    "queue:forget": "failed forget",
    "queue:flush": "failed flush",
    "queue:prune-failed": "failed prune",
    "queue:retry-batch": "batch retry",
    "queue:prune-batches": "batch prune",
    "schedule:run": "schedule run --once",
    "schedule:work": "schedule run",
    "schedule:list": "schedule list",
    "schedule:test": "schedule test",
    "horizon": "supervise",
    "horizon:status": "supervise --status",
    "reverb:start": "serve",
    "worker": "work",
    "beat": "schedule run",
    "inspect": "queue status",
    "purge": "queue clear",
    "revoke": "queue cancel",
    "status": "queue status",
}
"""What commands of Laravel and Celery are called here."""


class LazyGroup(click.Group):
    """A group whose commands are imported by name when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None for a name that does not exist."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        target, _ = COMMANDS[cmd_name]
        module_name, _, attribute = target.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            raise click.ClickException(f"'{cmd_name}' is not part of this build") from error
        command: click.Command = getattr(module, attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Add a suggestion to the complaint about an unknown name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            here = ELSEWHERE.get(args[0])
            hint = f" - did you mean {here!r}?" if here else did_you_mean(args[0], COMMANDS)
            ctx.fail(f"no command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="broadcaster-server", message="%(package)s %(version)s")
def broadcaster() -> None:
    """Real-time broadcasting for Python backends."""


def main(args: Sequence[str] | None = None) -> None:
    """
    Run the command line and exit.

    An error of ours is one line on stderr; its class decides the exit code.
    """
    try:
        broadcaster.main(args=None if args is None else list(args), prog_name="broadcaster")
    except BroadcasterError as error:
        click.echo(f"broadcaster: {error.message}", err=True)
        sys.exit(exit_code(error))


def exit_code(error: BroadcasterError) -> int:
    """Return the exit code of an error: its class's, else 1."""
    code: Any = getattr(error, "exit_code", 1)
    return int(code)
