"""`dtsched completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class
from rich_click import RichCommand

VARIABLE = "_DTSCHED_COMPLETE"
"""By which click knows that a shell asks; it is made of the program's name."""


@click.command("completion", cls=RichCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that completes commands and options in a shell.

    \b
    bash, from 4.4 on:  dtsched completion bash > ~/.local/share/bash-completion/completions/dtsched
    zsh:                dtsched completion zsh > ~/.zfunc/_dtsched
                        and before compinit, in ~/.zshrc: fpath+=~/.zfunc
    fish:               dtsched completion fish > ~/.config/fish/completions/dtsched.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three since 8.0
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "dtsched", VARIABLE).source(), nl=False)
