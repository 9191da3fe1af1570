"""The command line inside the environment: finds a command, runs it, and turns every failure into one clear line.

Each command lives in its own module and is imported only when it is called, so that starting is quick.
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer

from cli.errors import RunFailedError, StoppedError, UserError, fold, make_lenient, stoppable

TRACEBACK = "--traceback"
DEBUG = "TOMKING_DEBUG"
AS_THEY_ARE = {"--csv", "completion"}  # what these print is for a program, on a terminal too
COMMANDS = {
    "backtest": ("cli.backtest", "backtest"),
    "broker": ("cli.broker", "broker"),
    "cloud": ("cli.cloud", "cloud"),
    "compare": ("cli.runs", "compare"),
    "completion": ("cli.app", "completion"),
    "data": ("cli.data", "data"),
    "explain": ("cli.runs", "explain"),
    "faults": ("cli.checks", "faults"),
    "grid": ("cli.grid", "grid"),
    "montecarlo": ("cli.grid", "montecarlo"),
    "notebook": ("cli.runs", "notebook"),
    "regress": ("cli.checks", "regress"),
    "rehearse": ("cli.scenario", "rehearse"),
    "runs": ("cli.runs", "runs"),
    "scenario": ("cli.scenario", "scenario"),
    "settings": ("cli.settings", "settings"),
    "soak": ("cli.scenario", "soak"),
    "status": ("cli.status", "status"),
    "trades": ("cli.runs", "trades"),
    "test": ("cli.checks", "checks"),
}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 what was run failed, 2 it was asked for wrongly.

    ``--traceback`` after the command, or the environment variable TOMKING_DEBUG, shows where an error came from.
    """
    make_lenient()
    if not AS_THEY_ARE & set(arguments):
        fold()
    wanted = [argument for argument in arguments if argument != TRACEBACK]
    if len(wanted) < len(arguments) or os.environ.get(DEBUG):
        return guarded(wanted, traceback.print_exc)
    return guarded(wanted, lambda: None)


def guarded(arguments: Sequence[str], detail: Callable[[], None]) -> int:
    """Run one command line; whatever stops it ends in its exit code and words, after ``detail`` was called."""
    try:
        with stoppable():
            code = dispatch(arguments)
            sys.stdout.flush()  # a reader that went away is found here, not as the interpreter ends
            return code
    except UserError as error:
        return complain(str(error), 2)
    except RunFailedError as error:
        detail()
        return complain(str(error), 1)
    except BrokenPipeError:  # the reader of our output went away: what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except StoppedError as stop:
        return complain(f"{stop.words}; nothing half-written was left", stop.code)
    except KeyboardInterrupt:
        return complain("interrupted; nothing half-written was left", 130)
    except OSError as error:  # a full disk, a file that may not be read: to be mended outside of this program
        detail()
        return complain(one_line(error), 2)
    except SystemExit:
        raise
    except BaseException as error:  # the last frame before the shell: said in one line, and shown whole when asked for
        detail()
        return complain(f"{one_line(error)} (unexpected; {TRACEBACK} shows where it came from)", 1)


_INTERRUPTED = 128 + signal.SIGINT


def dispatch(arguments: Sequence[str]) -> int:
    """Call the command that ``arguments`` names, with the rest of them."""
    name = arguments[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        advice = f"did you mean {near[0]}?" if near else "python run.py --help lists the commands"
        raise UserError(f"unknown command {name!r}; {advice} (known: {', '.join(COMMANDS)})")
    module, function = COMMANDS[name]
    command: Callable[..., int | None] = getattr(import_module(module), function)
    return call(name, command, arguments[1:])


def call(name: str, command: Callable[..., int | None], arguments: Sequence[str]) -> int:
    """Parse ``arguments`` by the command's own signature and call it."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name)(command)
    try:
        code = app(list(arguments), prog_name=f"run.py {name}", standalone_mode=False)
    except typer.TyperException as error:
        raise UserError(f"{error.format_message()} (python run.py {name} --help lists the options)") from error
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort as stop:
        raise KeyboardInterrupt from stop
    if code == _INTERRUPTED:  # typer's answer to a KeyboardInterrupt, which an algorithm may raise too; it says nothing
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


COMPLETION = """\
_tomking() {
  local at=0
  case "${COMP_WORDS[0]##*/}" in
    python*) [[ "${COMP_WORDS[1]##*/}" == run.py ]] || return 0; at=1 ;;
  esac
  local word="${COMP_WORDS[COMP_CWORD]}"
  if (( COMP_CWORD == at + 1 )); then
    COMPREPLY=($(compgen -W "@commands@" -- "$word"))
    return 0
  fi
  [[ "$word" == -* ]] || return 0
  case "${COMP_WORDS[at + 1]}" in
@options@
  esac
}
complete -o default -o bashdefault -F _tomking run.py ./run.py python python3 python3.11
"""


def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish")] = "bash") -> int:
    """Print what completes commands and options of run.py in a shell.

    Examples:

    eval "$(python run.py completion bash)"

    eval "$(python run.py completion zsh)"

    python run.py completion fish | source
    """
    options = {name: option_names(name) for name in COMMANDS}
    if shell == "fish":
        for name, words in options.items():
            typer.echo(f"complete -c run.py -n __fish_use_subcommand -f -a {name}")
            for word in words:
                typer.echo(f"complete -c run.py -n '__fish_seen_subcommand_from {name}' -l {word.removeprefix('--')}")
        return 0
    if shell not in ("bash", "zsh"):
        raise UserError(f"completion: {shell!r}; expected bash, zsh or fish")
    if shell == "zsh":
        typer.echo("autoload -U +X bashcompinit && bashcompinit")
    cases = "\n".join(
        f'    {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")) ;;' for name, words in options.items()
    )
    typer.echo(COMPLETION.replace("@commands@", " ".join([*COMMANDS, "tool"])).replace("@options@", cases), nl=False)
    return 0


def option_names(name: str) -> list[str]:
    """The long options of a command."""
    module, function = COMMANDS[name]
    app = typer.Typer(add_completion=False)
    app.command(name)(getattr(import_module(module), function))
    parameters = typer.main.get_command(app).params
    found = [word for item in parameters for word in (*item.opts, *item.secondary_opts) if word.startswith("--")]
    return [*found, "--help", TRACEBACK]


def one_line(error: BaseException) -> str:
    """The kind of an error and its first words."""
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


def complain(text: str, code: int) -> int:
    """Say what went wrong, each line marked, and hand the exit code back."""
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"error: {line}\n")
    return code
