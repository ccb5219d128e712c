"""Command `harness methods`."""

from __future__ import annotations

import json

import click

from harness.methods import broken_plugins
from harness.workspace import Workspace


@click.command("methods")
@click.option("--task", default="", help="Only methods that do this task.")
@click.option("--format", "form", type=click.Choice(["text", "json", "md"]), default="text", help="Form of the output.")
def methods_command(task: str, form: str) -> None:
    """List the methods known here: built in, installed, and in your folders."""
    from harness.tasks import task as task_of

    if task:
        task_of(task)
    found = [m for m in Workspace.find().methods().values() if not task or task in m.tasks]
    records = [
        {
            "method": m.name,
            "title": m.title,
            "tasks": list(m.tasks),
            "origin": m.origin,
            "policy": m.policy,
            "weights": list(m.weights),
            "extra": m.extra,
            "paper": m.paper,
        }
        for m in found
    ]
    if form == "json":
        click.echo(json.dumps(records, indent=1, ensure_ascii=False))
    else:
        from tabulate import tabulate

        lines = [
            [r["method"], r["title"], ", ".join(r["tasks"]), r["origin"], r["policy"], r["paper"]] for r in records
        ]
        heads = ("method", "title", "tasks", "weights", "policy", "paper")
        click.echo(tabulate(lines, heads, tablefmt="github" if form == "md" else "simple"))
    for reason in broken_plugins().values():
        click.echo(f"could not be loaded: {reason}", err=True)
