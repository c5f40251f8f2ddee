"""`pgtask completion`: the script by which a shell completes commands, options, and names from the database."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from pgtask.model.status import JobStatus

INSTALL = {
    "bash": "echo 'eval \"$(pgtask completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(pgtask completion zsh)\"' >> ~/.zshrc",
    "fish": "pgtask completion fish > ~/.config/fish/completions/pgtask.fish",
}


@click.command(epilog="\b\nInstall it for good:\n" + "\n".join(f"  {line}" for line in INSTALL.values()))
@click.argument("shell", type=click.Choice(list(INSTALL)), metavar="bash|zsh|fish")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    Names of queues and tasks come from the database, where it answers within half a second.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root()
    script = kind(root.command, {}, "pgtask", "_PGTASK_COMPLETE")
    # Not script.source(): for bash that starts bash to ask its version.
    text = script.source_template % script.source_vars()
    # The one of fish would cut values and descriptions at their commas.
    click.echo(text.replace('string split ","', 'string split --max 1 ","'))
    # Last, as zsh wants its own mark on the first line.
    click.echo(f"# To install this: {INSTALL[shell]}")


def queue_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Names of queues, for an option or argument."""
    from pgtask.cli import suggestions

    return suggestions.queue_names(ctx, incomplete)


def task_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Names of tasks, for an option or argument."""
    from pgtask.cli import suggestions

    return suggestions.task_names(ctx, incomplete)


def statuses(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Statuses, also behind others and a comma."""
    before, comma, word = incomplete.rpartition(",")
    given = set(before.split(","))
    return [CompletionItem(before + comma + name) for name in JobStatus if name not in given and name.startswith(word)]
