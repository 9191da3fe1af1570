"""Many runs beside each other: a table with intervals across seeds, a heat map, and what the best of many is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reporting.intervals import FEWEST_MOVES, Interval, Unit, deflated_sharpe
from reporting.markup import EN_DASH, Markup, element, escape, join, number, percent, span, table
from reporting.performance import TRADING_DAYS

Figures = Mapping[str, float | None]
Place = tuple[tuple[tuple[str, str], ...], str]
Groups = Mapping[Place, Sequence[Figures]]
"""The figures of each seed, by values that were varied and by market."""
SURE = 0.95
HEAD = ("Values", "Runs", "Return", "95 % of the mean", "Worst drawdown", "Sharpe", "Trades")


def known(runs: Sequence[Figures], name: str) -> list[float]:
    """A figure of every run that has it."""
    return [value for run in runs if (value := run[name]) is not None]


def mean_of(runs: Sequence[Figures], name: str) -> float | None:
    """Mean across seeds; None where no run has it."""
    values = known(runs, name)
    return math.fsum(values) / len(values) if values else None


def interval_of(runs: Sequence[Figures], name: str) -> Interval | None:
    """Student's 95 % interval of the mean across seeds; None under two runs."""
    from scipy.stats import t

    values = np.array(known(runs, name), dtype=np.float64)
    if len(values) < 2:
        return None
    half = float(t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def place_words(place: Place, *, several_markets: bool) -> str:
    """What was varied, in words."""
    values, market = place
    words = [f"{key}={value}" for key, value in values]
    return ", ".join([*words, market] if several_markets or not words else words)


def grid_rows(groups: Groups) -> list[tuple[str, ...]]:
    """The table's head, then a row a combination in the order given. The Sharpe ratio is a year's, over bills."""
    several = len({market for _, market in groups}) > 1
    rows: list[tuple[str, ...]] = [HEAD]
    for place, runs in groups.items():
        ratio = mean_of(runs, "sharpe_of_a_day")
        falls, trades = known(runs, "drawdown"), mean_of(runs, "trades")
        rows.append(
            (
                place_words(place, several_markets=several),
                str(len(runs)),
                percent(mean_of(runs, "total_return"), 2),
                span(interval_of(runs, "total_return"), Unit.PERCENT),
                percent(max(falls, default=None), 2) if falls else EN_DASH,
                number(None if ratio is None else ratio * math.sqrt(TRADING_DAYS)),
                number(trades, 1),
            )
        )
    return rows


def best_of_many(groups: Groups) -> str:
    """The warning against the best of many combinations, with the deflated Sharpe ratio of the best."""
    ratios = {place: ratio for place, runs in groups.items() if (ratio := mean_of(runs, "sharpe_of_a_day")) is not None}
    if len(groups) < 2:
        return "One combination: nothing was chosen among many."
    if len(ratios) < 2:
        few = f"in the others under {FEWEST_MOVES} days moved the account"
        return (
            f"Of {len(groups)} combinations {len(ratios)} have a Sharpe ratio, {few}: do not choose by these figures."
        )
    best = max(ratios, key=lambda place: ratios[place])
    runs = groups[best]
    skewness, kurtosis = mean_of(runs, "skewness"), mean_of(runs, "kurtosis")
    days = int(mean_of(runs, "days") or 0)
    chance = None
    if skewness is not None and kurtosis is not None:
        chance = deflated_sharpe(np.array(list(ratios.values()), dtype=np.float64), days, skewness, kurtosis)
    name = place_words(best, several_markets=len({market for _, market in groups}) > 1)
    begun = f"Best of {len(ratios)} combinations: {name}."
    if chance is None:
        return f"{begun} Its deflated Sharpe ratio cannot be computed: do not choose by it."
    verdict = "even so it stands out" if chance >= SURE else "the best of as many worthless ones would look like this"
    return (
        f"{begun} Deflated Sharpe ratio {percent(chance)} (chance that it beats the best of {len(ratios)} worthless "
        f"combinations; Bailey and Lopez de Prado, 2014): {verdict}."
    )


def write_grid(path: Path, groups: Groups, words: str) -> None:
    """Write the page: the warning, the heat map, the table. Nothing is fetched."""
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    rows = grid_rows(groups)
    body = join(
        [
            element("h1", "Grid"),
            element("p", words, class_="lead"),
            *heat_maps(groups),
            element("h2", "Every combination"),
            table(rows[0], rows[1:], "Mean across seeds", (1, 2, 3, 4, 5, 6), stacked=True),
        ]
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape('Grid')}</title><style>{style}</style>"
    )
    fresh = path.with_name(f"{path.name}.tmp")
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'
    fresh.write_text(page, encoding="utf-8", newline="\n")
    fresh.replace(path)


def heat_maps(groups: Groups) -> list[Markup]:
    """A map of the mean return for each market: the first setting down, the second across, all others one map each."""
    found: dict[str, dict[tuple[str, str], float | None]] = {}
    axes: dict[str, tuple[str, str]] = {}
    for (values, market), runs in groups.items():
        if not values:
            continue
        rest = [f"{key}={value}" for key, value in values[2:]]
        title = ", ".join([*rest, market])
        down, across = values[0], values[1] if len(values) > 1 else ("", "")
        axes[title] = (down[0], across[0])
        found.setdefault(title, {})[down[1], across[1]] = mean_of(runs, "total_return")
    known_values = [value for cells in found.values() for value in cells.values() if value is not None]
    strongest = max((abs(value) for value in known_values), default=0.0)
    return [heat_map(title, axes[title], cells, strongest or 1.0) for title, cells in found.items()]


def heat_map(
    title: str, axes: tuple[str, str], cells: Mapping[tuple[str, str], float | None], strongest: float
) -> Markup:
    """One map; a cell's colour is its return's sign, its strength the share of the strongest of all."""
    downs, acrosses = dict.fromkeys(down for down, _ in cells), dict.fromkeys(across for _, across in cells)
    corner = " / ".join(name for name in axes if name)
    heads = (element("th", words, scope="col", class_="number") for words in acrosses)
    top = element("tr", element("th", corner, scope="col"), *heads)
    rows = []
    for down in downs:
        row = [element("th", down, scope="row")]
        for across in acrosses:
            value = cells.get((down, across))
            row.append(element("td", percent(value, 2), class_="number", style=shade(value, strongest)))
        rows.append(element("tr", *row))
    caption = element("caption", f"Mean return across seeds: {title}")
    whole = element("table", caption, element("thead", top), element("tbody", *rows))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=title)


def shade(value: float | None, strongest: float) -> str | None:
    """The background of a cell."""
    if value is None or not math.isfinite(value):
        return None
    share = round(abs(value) / strongest * 100)
    return f"background:color-mix(in srgb, var(--{'gain' if value >= 0 else 'loss'}-fill) {share}%, transparent)"
