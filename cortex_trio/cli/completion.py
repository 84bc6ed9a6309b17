"""`cortex-trio completion`: scripts that complete commands, options and their values, made from the parser itself."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence

import attrs

from .arguments import parser
from .screen import Screen

FILE_METAVARS = ("FILE",)
"""Options with such a value complete the names of files."""


@attrs.frozen
class Option:
    """One option, or one positional argument with a choice of values."""

    names: Sequence[str]
    """Empty for a positional argument."""

    help: str
    values: Sequence[str]
    takes_value: bool
    is_file: bool


@attrs.frozen
class CommandHelp:
    """One command and its options."""

    name: str
    help: str
    options: Sequence[Option]


def completion(arguments: argparse.Namespace) -> int:
    """Print the script of a shell. Returns 0."""
    scripts = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    text = scripts[arguments.shell]([*_commands(parser())])
    Screen.on(sys.stdout, no_color=True).raw(text)
    return 0


# ------------------------------------------------------------------ what can be typed


def _commands(root: argparse.ArgumentParser) -> Iterator[CommandHelp]:
    (group,) = (action for action in root._actions if isinstance(action, argparse._SubParsersAction))  # pyright: ignore[reportPrivateUsage]
    helps = {action.dest: action.help or "" for action in group._choices_actions}  # pyright: ignore[reportPrivateUsage]
    for name, command in group.choices.items():
        options = [_option(action) for action in command._actions]  # pyright: ignore[reportPrivateUsage]
        yield CommandHelp(name, helps[name], options)


def _option(action: argparse.Action) -> Option:
    values = [str(value) for value in action.choices or ()]
    return Option(
        action.option_strings,
        (action.help or "").partition(":")[0].replace("%(choices)s", "").strip(),
        values,
        action.nargs != 0,
        action.metavar in FILE_METAVARS,
    )


# ------------------------------------------------------------------ the scripts


def _bash(commands: Sequence[CommandHelp]) -> str:
    cases = "\n".join(f"        {command.name}) {_bash_case(command)} ;;" for command in commands)
    names = " ".join(command.name for command in commands)
    return f"""\
# bash completion for cortex-trio
_cortex_trio() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=( $(compgen -W "{names} --help --version" -- "$current") )
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    COMPREPLY=( $(compgen -W "$words" -- "$current") )
}}
complete -o default -F _cortex_trio cortex-trio
"""


def _bash_case(command: CommandHelp) -> str:
    """Return the values after an option, else the names of all options; without either bash completes files."""
    branches = [
        f"{'|'.join(option.names)}) words={shlex.quote(' '.join(option.values))} ;;"
        for option in command.options
        if option.names and option.takes_value
    ]
    positional = [value for option in command.options if not option.names for value in option.values]
    names = [name for option in command.options for name in option.names if name.startswith("--")]
    words = shlex.quote(" ".join([*positional, *names]))
    return f'case "$previous" in {" ".join(branches)} *) words={words} ;; esac'


def _zsh(commands: Sequence[CommandHelp]) -> str:
    lines = [f"        {_quoted(f'{command.name}:{command.help}')}" for command in commands]
    cases = [
        f"        {command.name}) _arguments "
        + " ".join(_quoted(spec) for option in command.options for spec in _zsh_specs(option))
        + " ;;"
        for command in commands
    ]
    described, cased = "\n".join(lines), "\n".join(cases)
    return f"""\
#compdef cortex-trio
_cortex_trio() {{
    local -a commands
    commands=(
{described}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case "$words[1]" in
{cased}
    esac
}}
if [ "$funcstack[1]" = "_cortex_trio" ]; then
    _cortex_trio "$@"
else
    compdef _cortex_trio cortex-trio
fi
"""


def _zsh_specs(option: Option) -> Iterator[str]:
    values = f"({' '.join(option.values)})" if option.values else "_files" if option.is_file else " "
    if not option.names:
        yield f"1::value:{values if option.values else '_files'}"
    help_text = option.help.replace("[", "(").replace("]", ")").replace(":", " ")
    for name in option.names:
        yield f"{name}[{help_text}]" + (f":value:{values}" if option.takes_value else "")


def _fish(commands: Sequence[CommandHelp]) -> str:
    lines = ["# fish completion for cortex-trio"]
    lines += [
        f"complete -c cortex-trio -f -n __fish_use_subcommand -a {command.name} -d {_quoted(command.help)}"
        for command in commands
    ]
    for command in commands:
        where = f"-n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"complete -c cortex-trio {where} {_fish_option(option)}" for option in command.options]
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    values = [f"-x -a {_quoted(' '.join(option.values))}"] if option.values else []
    files = (
        ["-r -F"] if option.is_file else ["-x"] if option.takes_value and option.names and not values else []
    )
    return " ".join([*names, *values, *files, f"-d {_quoted(option.help)}"])


def _quoted(text: str) -> str:
    return shlex.quote(text)
