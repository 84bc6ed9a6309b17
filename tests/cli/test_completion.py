"""The completion scripts, executed by the shells they are for, where those are installed."""

import shutil
from pathlib import Path

import pytest
from cli_process import CORTEX, Typed, environment, run, run_in_terminal

COMPLETED = {
    "cortex-trio comp": "completion",
    "cortex-trio chat --on": "--on-interrupt",
    "cortex-trio chat --on-interrupt re": "restart",
    "cortex-trio completion z": "zsh",
    "cortex-trio config ch": "check",
    "cortex-trio config check --js": "--json",
    "cortex-trio explain --strategy lea": "least_used",
    "cortex-trio chat -a note": "notes.txt",
}
"""What is typed, and how its last argument is completed."""


ASK = 'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _cortex_trio; echo "${COMPREPLY[@]}"; }'
"""Completes in bash without a terminal: prints what its completion would offer."""


def installed(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


async def script_of(shell: str, folder: Path) -> Path:
    (folder / "notes.txt").touch()
    ended = await run(*CORTEX, "completion", shell, env=environment())
    assert (ended.status, ended.err) == (0, "")
    script = folder / f"completion.{shell}"
    script.write_text(ended.out)
    return script


@pytest.mark.slow
async def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    bash, script = installed("bash"), await script_of("bash", tmp_path)
    ask = f"source {script}\n{ASK}\n"
    by_shell = [line for line in COMPLETED if "note" not in line]  # bash itself completes files then
    lines = "\n".join(f"ask {line}" for line in by_shell)
    ended = await run(bash, "-c", ask + lines, env=environment())
    assert ended.out.splitlines() == [COMPLETED[line] for line in by_shell]


@pytest.mark.slow
async def test_bash_completes_files_in_a_terminal(tmp_path: Path) -> None:
    bash, script = installed("bash"), await script_of("bash", tmp_path)
    await complete_in_terminal(
        bash, "--norc", "-i", folder=tmp_path, start=f"source {script}", lines=["cortex-trio chat -a note"]
    )


@pytest.mark.slow
async def test_zsh_completes_commands_options_and_values(tmp_path: Path) -> None:
    zsh, script = installed("zsh"), await script_of("zsh", tmp_path)
    start = f"autoload -Uz compinit; compinit -u -D; source {script}"
    await complete_in_terminal(zsh, "-f", "-i", folder=tmp_path, start=start, lines=[*COMPLETED])


@pytest.mark.slow
async def test_fish_completes_commands_options_and_values(tmp_path: Path) -> None:
    fish, script = installed("fish"), await script_of("fish", tmp_path)
    asked = "; ".join(f"complete -C '{line}' | head -n 1" for line in COMPLETED)
    code = f"cd {tmp_path}; source {script}; {asked}"
    ended = await run(fish, "--no-config", "-c", code, env=environment(HOME=str(tmp_path)))
    assert (ended.status, ended.err) == (0, "")
    assert [line.partition("\t")[0] for line in ended.out.splitlines()] == [*COMPLETED.values()]


async def complete_in_terminal(*shell: str, folder: Path, start: str, lines: list[str]) -> None:
    """Type each line with a tab at its end into an interactive shell, and compare the command that it then runs."""
    typed = [Typed("", f"cd {folder}; cortex-trio() {{ echo \"ran[$*]\"; }}; {start}; PS1='NO''W>'\n")]
    after = "NOW>"
    for line in lines:
        *_, command = line.partition("cortex-trio ")
        expected = " ".join([*command.split()[:-1], COMPLETED[line]])
        typed += [Typed(after, f"{line}\t"), Typed(expected.split()[-1], "\n")]
        after = f"ran[{expected}]"
    typed.append(Typed(after, "exit\n"))
    env = environment(HOME=str(folder), TERM="dumb")
    assert (await run_in_terminal(*shell, env=env, typed=typed)).status == 0
