"""The command line inside the environment: finds a command, runs it, and turns every failure into one clear line.

Each command lives in its own module and is imported only when it is called, so that starting is quick.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module

from cli.errors import RunFailedError, UserError
from cli.progress import make_lenient
from cli.stopping import StoppedError, stoppable

TRACEBACK = "--traceback"
DEBUG = "TOMKING_DEBUG"
COMMANDS = {
    "backtest": ("cli.backtest", "backtest"),
    "cloud": ("cli.cloud", "cloud"),
    "data": ("cli.data", "data"),
    "regress": ("cli.regress", "regress"),
    "scenario": ("cli.scenario", "scenario"),
    "test": ("cli.checks", "checks"),
}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 what was run failed, 2 it was asked for wrongly.

    ``--traceback`` after the command, or the environment variable TOMKING_DEBUG, shows where an error came from.
    """
    make_lenient()
    wanted = [argument for argument in arguments if argument != TRACEBACK]
    if len(wanted) < len(arguments) or os.environ.get(DEBUG):
        return guarded(wanted, traceback.print_exc)
    return guarded(wanted, lambda: None)


def guarded(arguments: Sequence[str], detail: Callable[[], None]) -> int:
    """Run one command line; whatever stops it ends in its exit code and words, after ``detail`` was called."""
    try:
        with stoppable():
            return dispatch(arguments)
    except UserError as error:
        return complain(str(error), 2)
    except RunFailedError as error:
        detail()
        return complain(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nothing is left to say, and nowhere to say it
        return 1
    except StoppedError as stop:
        return complain(f"{stop.words}; nothing half-written was left", stop.code)
    except KeyboardInterrupt:
        return complain("interrupted; nothing half-written was left", 130)
    except OSError as error:  # a full disk, a file that may not be read: to be mended outside of this program
        detail()
        return complain(one_line(error), 2)
    except Exception as error:  # the last frame before the shell: said in one line, and shown whole when asked for
        detail()
        return complain(f"{one_line(error)} (unexpected; {TRACEBACK} shows where it came from)", 1)


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
    import typer

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
    return code if isinstance(code, int) else 0


def one_line(error: Exception) -> str:
    """The kind of an error and its first words."""
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__


def complain(text: str, code: int) -> int:
    """Say what went wrong, each line marked, and hand the exit code back."""
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"error: {line}\n")
    return code
