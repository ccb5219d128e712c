"""Groups of commands that import a command when it is called."""

from __future__ import annotations

import importlib
from typing import ClassVar

import click
from click.shell_completion import CompletionItem

from harness.errors import HarnessError, unknown_name

# name -> (where it is, one line of help): `--help` imports none of them.
Index = dict[str, tuple[str, str]]


def own_process() -> bool:
    """Whether this process is the command's, and not another program's (a test's), which must not be forked."""
    about = click.get_current_context().find_root().obj
    return isinstance(about, dict) and bool(about.get("own"))


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called, and names near ones for an unknown name."""

    index: ClassVar[Index] = {}
    unlisted: ClassVar[Index] = {}
    moved: ClassVar[dict[str, str]] = {}
    # What one wants to do, with the commands for it; those of no section come last.
    sections: ClassVar[dict[str, tuple[str, ...]]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order a user meets them."""
        return [*self.index, *self.unlisted]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand."""
        known = self.index | self.unlisted
        if cmd_name not in known:
            return None
        module, _, attribute = known[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand; an unknown one raises HarnessError with the nearest names."""
        if ctx.resilient_parsing:  # a shell asks what could stand here
            return super().resolve_command(ctx, args)
        if args and args[0] in self.moved:
            raise HarnessError(f"'harness {args[0]}' is now 'harness {self.moved[args[0]]}'")
        if args and args[0] not in self.index | self.unlisted:
            raise unknown_name("command", args[0], self.index)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from the index, without importing them."""
        listed = {name for names in self.sections.values() for name in names}
        others = tuple(name for name in self.index if name not in listed)
        longest = max(map(len, self.index))
        for title, names in {**self.sections, "More" if self.sections else "Commands": others}.items():
            if names:
                with formatter.section(title):
                    # Sections line up.
                    formatter.write_dl([(name.ljust(longest), self.index[name][1]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of subcommands from the index, and the group's own options."""
        names = [
            CompletionItem(name, help=text) for name, (_, text) in self.index.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]
