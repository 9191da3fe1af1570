"""``python run.py regress``: LEAN's own regression algorithms on the embedded engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import UserError


def regress(
    checkout: Annotated[Path, typer.Argument(help="LEAN's repository: a checkout or a bare git directory")],
    names: Annotated[
        list[str] | None,
        typer.Option(
            help="Algorithms to run, all that trade without it. Example: --names BasicTemplateOptionsAlgorithm"
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="JSON of declared figures; without it LEAN's C# twins are asked. Example: --figures figures.json"
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time; all cores by default. Example: --jobs 1")
    ] = None,
    all_statistics: Annotated[
        bool,
        typer.Option("--all-statistics", help="Compare every declared statistic. Example: --all-statistics"),
    ] = False,
) -> int:
    """Run LEAN's Python regression algorithms unchanged and compare total orders, end equity and fees.

    Examples:

    python run.py regress ../Lean --figures ../shared/conformance/lean-regressions.json

    python run.py regress ../Lean --names BasicTemplateOptionsAlgorithm
    """
    from simulation.regress import CheckoutError, Comparison, chosen, compare, opened

    def tell(done: Comparison) -> None:
        verdict = "same" if done.passed else "DIFFERS"
        typer.echo(f"{verdict:8}{done.name} ({done.seconds:.1f} s)")
        if not done.passed:
            wanted, got = done.expected, done.got
            typer.echo(f"        declared: {wanted.orders} orders, equity {wanted.equity:.2f}, fees {wanted.fees:.2f}")
            if got is not None:
                typer.echo(f"        here:     {got.orders} orders, equity {got.equity:.2f}, fees {got.fees:.2f}")
            for name, (declared, here) in done.differences.items():
                typer.echo(f"        {name}: declared {declared}, here {here or 'nothing'}")
            if done.problem is not None:
                typer.echo(f"        error:    {done.problem}")

    try:
        with opened(checkout) as folder:
            wanted = chosen(folder, names or (), figures)
            results = compare(folder, wanted, jobs=jobs, report=tell, all_statistics=all_statistics)
    except (CheckoutError, OSError, ValueError) as error:
        raise UserError(f"{checkout}: {error}") from error
    same = sum(result.passed for result in results)
    how = "in every statistic" if all_statistics else "to the cent"
    typer.echo(f"{same} of {len(results)} agree with LEAN {how}")
    return 0 if same == len(results) else 1
