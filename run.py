#!/usr/bin/env python3
"""Start the Tom King Trading System: `python run.py backtest`, `python run.py test`, `python run.py --help`.

Standard library only. It checks the Python version, builds the project's own environment in `.venv` on first use
(cli/bootstrap.py) and hands over to the command line inside it (cli/app.py).
"""
# Only syntax that every Python since 3.6 reads (so no __future__ import): an old one must get as far as its own error.

import sys

NEEDED = (3, 11)


def wrong_python() -> str:
    """One line that says which Python this is and how to use the right one; empty when this one is right."""
    if sys.version_info[:2] == NEEDED:
        return ""
    needed = f"{NEEDED[0]}.{NEEDED[1]}"
    found = f"{sys.version.split()[0]} ({sys.executable})"
    again = " ".join(sys.argv[1:]) or "backtest"
    return f"Python {needed} is needed, as in LEAN; this is {found}. Install it, then: python{needed} run.py {again}"


if __name__ == "__main__":
    complaint = wrong_python()
    if complaint:
        sys.stderr.write(f"error: {complaint}\n")
        sys.exit(2)
    from cli.bootstrap import main

    sys.exit(main(sys.argv[1:]))
