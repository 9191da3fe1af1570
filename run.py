#!/usr/bin/env python3
"""Start the Tom King Trading System: `python run.py backtest`, `python run.py test`, `python run.py --help`.

Standard library only. It checks the Python version, builds the project's own environment in `.venv` on first use
(cli/bootstrap.py) and hands over to the command line inside it (cli/app.py).
"""
# Only syntax that every Python since 2.7 reads (no annotations, f-strings, __future__ imports): a wrong one must get to
# its own error.

import signal
import sys

NEEDED = (3, 11)


def wrong_python():
    # type: () -> str
    """One line that says which Python this is and how to use the right one; empty when this one is right."""
    if sys.version_info[:2] == NEEDED:
        return ""
    needed = "{0}.{1}".format(*NEEDED)
    found = "{0} ({1})".format(sys.version.split()[0], sys.executable)
    again = " ".join(sys.argv[1:]) or "backtest"
    words = "Python {0} is needed, as in LEAN; this is {1}. Install it, then: python{0} run.py {2}"
    return words.format(needed, found, again)


def stop(number, _):
    # type: (int, object) -> None
    """Told to end before anything was begun that has to be cleared up."""
    sys.stderr.write("error: stopped by {0}\n".format(SIGNALS[number]))
    sys.exit(128 + number)


SIGNALS = {getattr(signal, name): name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}


if __name__ == "__main__":
    complaint = wrong_python()
    if complaint:
        sys.stderr.write("error: " + complaint + "\n")
        sys.exit(2)
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:  # what is ignored from outside (nohup) stays ignored
            signal.signal(number, stop)
    try:
        from cli.bootstrap import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # before or between the parts that clear up after themselves
        sys.stderr.write("error: interrupted\n")
        code = 130
    sys.exit(code)
