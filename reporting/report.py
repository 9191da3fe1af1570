"""One self-contained HTML page for one run: no file beside it, nothing fetched, complete without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from core.fills import FillRule
from reporting.charts import account_charts
from reporting.fields import Standing
from reporting.history import Benchmark, exposure_part, history_part
from reporting.intervals import FEWEST_MOVES, Unit
from reporting.lives import lives_of, open_trades
from reporting.markup import (
    MINUS,
    Markup,
    element,
    escape,
    join,
    money,
    number,
    percent,
    section,
    sharpe_texts,
    span,
    table,
    target_texts,
)
from reporting.performance import (
    EquityStatistics,
    PerformanceTracker,
    Priors,
    TargetRow,
    TradeStatistics,
    Verdict,
    judge,
    part_exits,
    skip_reasons,
    trade_statistics,
)
from reporting.rows import Decision, EngineTrade, EquityPoint, ErrorNote, Journal, RiskNote, strategy_title
from reporting.trades import (
    FillSummary,
    calendar,
    day_cells,
    engine_trades_table,
    summarise_fills,
    table_rows,
    trade_list,
)

BOUND_MINUS = f"{MINUS}\N{WORD JOINER}"  # no line ends between a sign and its sum
MOST_NOTES = 100
MOST_CLOSES = 20  # each says the health of all that was held
LEAN_NAMES = {
    "Win Rate": "LEAN, by leg",
    "Loss Rate": "LEAN, by leg",
    "Profit-Loss Ratio": "LEAN, by leg",
    "Average Win": "LEAN, by leg, of the account",
    "Average Loss": "LEAN, by leg, of the account",
    "Sharpe Ratio": "LEAN, daily samples",
    "Sortino Ratio": "LEAN, daily samples",
}
LEAN_DIFFERS = (
    "LEAN's own statistics differ from the figures above, and this is why: its win and loss rates and its profit-loss "
    "ratio count each leg of a package as a trade of its own, so that a winning condor is often two wins and two "
    "losses; its Sharpe and Sortino ratios take the engine's daily samples, over the rate of its own interest-rate "
    "file, however few days moved; its drawdown and net profit count every sample, not only session closes."
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run's numbers come from: what is real, what is modelled, and what not to conclude.

    ``measured``: how kind or unkind a modelled market was measured to be to what the run did.
    """

    market: str
    real: tuple[str, ...]
    modelled: tuple[str, ...]
    cautions: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything a report shows of one run. ``settings`` is the whole of them as text; ``facts`` are shown as given.

    ``own`` is false for an algorithm that is not this project's: it has no journal and no targets, and its figures come
    from ``engine_trades``.
    """

    title: str
    start: date
    end: date
    journal: Journal
    equity: tuple[EquityPoint, ...]
    provenance: Provenance
    settings: str
    risk_free: float = 0.0
    priors: Priors | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    engine_statistics: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    own: bool = True
    warnings: tuple[str, ...] = ()
    engine_trades: tuple[EngineTrade, ...] = ()
    fill_rule: FillRule | None = None
    benchmarks: tuple[Benchmark, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The statistics of a run, computed once for the table on the terminal and for the page."""

    equity: EquityStatistics | None
    total: TradeStatistics
    strategies: tuple[TradeStatistics, ...]
    targets: tuple[TargetRow, ...]
    fills: FillSummary | None = None


def summarise(record: RunRecord) -> Summary:
    """Everything that is computed from a run."""
    tracker = PerformanceTracker(record.risk_free, record.priors)
    tracker.add_equity(record.equity)
    if not record.own:
        return Summary(tracker.equity(), trade_statistics("all", record.engine_trades), (), ())
    tracker.add_trades(record.journal.trades)
    equity, total, strategies = tracker.equity(), tracker.total(), tracker.by_strategy()
    fills = summarise_fills(record.journal, record.fill_rule)
    return Summary(equity, total, strategies, judge(equity, total, strategies), fills)


def write_report(path: Path, record: RunRecord, summary: Summary | None = None) -> None:
    """Write the page in one step: a reader never meets half of one."""
    fresh = path.with_name(f"{path.name}.tmp")
    fresh.write_text(render(record, summary or summarise(record)), encoding="utf-8", newline="\n")
    fresh.replace(path)


def render(record: RunRecord, summary: Summary) -> str:
    """The whole page."""
    here = Path(__file__).parent
    style = (here / "page.css").read_text(encoding="utf-8")
    script = (here / "page.js").read_text(encoding="utf-8")
    parts = [header(record), tiles(record, summary)]
    parts += [section(title, anchor, *content) for anchor, title, content in sections(record, summary)]
    title = escape(f"{record.title}, {record.start} to {record.end}")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style>"
    )
    body = f"{join(parts)}\n<script>{script}</script>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}</body></html>\n'


def sections(record: RunRecord, summary: Summary) -> list[tuple[str, str, list[Markup]]]:
    """The parts of the page below the tiles: anchor, title, content. Without our journal its parts are left out."""
    beside = {benchmark.name: benchmark.points for benchmark in record.benchmarks}
    shown = [
        ("equity", "Equity and drawdown", [account_charts(record.equity, beside)]),
        ("history", "Through time", history_part(record.equity, record.benchmarks, record.risk_free)),
    ]
    if record.own:
        shown += [
            ("exposure", "Exposure through time", exposure_part(record.journal.exposures, record.equity)),
            ("targets", "Targets beside what was measured", [targets_table(summary.targets)]),
            ("days", "Every entry day", calendars(record)),
            ("skips", "Why there was no trade", [skips_table(record)]),
            (
                "strategies",
                "By strategy",
                [strategy_tiles(summary), strategies_table(summary), exits_table(record.journal)],
            ),
            ("fills", "Fills, and what others would have made of them", [fills_table(summary.fills)]),
            ("trades", "Trades", trade_list(record.journal, record.settings)),
            ("risk", "Risk and errors", risk_part(record.journal)),
        ]
    else:
        shown.append(("trades", "Trades", [engine_trades_table(record.engine_trades)]))
    return [
        *shown,
        ("provenance", "What is real and what is modelled", provenance(record.provenance)),
        ("settings", "Settings and engine statistics", settings_part(record)),
    ]


def header(record: RunRecord) -> Markup:
    """Title, range, market, and the links to the parts."""
    links = {"equity": "Equity", "history": "Through time"}
    if record.own:
        links |= {
            "exposure": "Exposure",
            "targets": "Targets",
            "days": "Entry days",
            "skips": "Why no trade",
            "strategies": "Strategies",
            "fills": "Fills",
        }
    links["trades"] = "Trades"
    if record.own:
        links["risk"] = "Risk"
    links |= {"provenance": "Real or modelled", "settings": "Settings"}
    failure = element("p", element("strong", "This run ended in an error: "), record.error, class_="missed")
    return element(
        "header",
        element("h1", record.title),
        element("p", f"{record.start} to {record.end}. Market: {record.provenance.market}", class_="lead"),
        failure if record.error else "",
        *(
            element("p", element("strong", "Note: "), words, class_="missed")
            for words in (*record.warnings, *suspensions(record.journal.decisions))
        ),
        element("nav", *(element("a", words, href=f"#{anchor}") for anchor, words in links.items())),
    )


def suspensions(decisions: Sequence[Decision]) -> Iterable[str]:
    """Strategies that did not look at entries because they were suspended, and how many entries that were."""
    told: dict[str, list[Decision]] = {}
    for decision in decisions:
        if decision.rule == "suspended":
            told.setdefault(decision.strategy, []).append(decision)
    for strategy, days in told.items():
        yield (
            f"{strategy_title(strategy)} was suspended and left out {len(days)} entries from {days[0].day} to "
            f"{days[-1].day}: {days[0].reason}"
        )


def tile_texts(record: RunRecord, summary: Summary) -> list[tuple[str, str, str]]:
    """The figures that people look for first: name, value, and what it rests on."""
    equity, total = summary.equity, summary.total
    each = "closed parts" if record.own else "legs"
    wins = f"{total.wins} of {total.count} {each}; 95 %: {span(total.win_interval, Unit.PERCENT)}"
    shown = [
        ("Trades", str(total.count), f"{each}; profit {money(total.profit, signed=True)} after fees"),
        ("Wins", percent(total.win_rate), wins),
        ("Fees", money(total.fees), "all closed trades"),
    ]
    if record.own:
        shown.insert(2, ("Credit kept", percent(total.credit_kept), "of credit taken in, before fees"))
    if equity is not None:
        fall = f"{equity.drawdown_peak} to {equity.drawdown_trough}"
        interval = equity.annual_return_interval
        yearly = f"95 %: {span(interval, Unit.PERCENT)}" if interval else "too few days moved for an interval"
        shown += [
            ("Return", percent(equity.total_return), f"{money(equity.first)} to {money(equity.last)}"),
            ("A year", percent(equity.annual_return), yearly),
            ("Largest drawdown", percent(equity.drawdown), fall),
            ("Sharpe", *sharpe_texts(equity)),
        ]
    return shown


def tiles(record: RunRecord, summary: Summary) -> Markup:
    """The figures that people look for first, as tiles."""
    return tile_list(tile_texts(record, summary))


def tile_list(shown: Iterable[tuple[str, object, str]]) -> Markup:
    """Tiles of name, value and what it rests on."""
    return element(
        "dl",
        *(
            element(
                "div", element("dt", name), element("dd", value, element("small", note.replace(MINUS, BOUND_MINUS)))
            )
            for name, value, note in shown
        ),
        class_="tiles",
    )


def targets_table(rows: Sequence[TargetRow]) -> Markup:
    """Each promise of the method's descriptions with the measured figure, its sample and interval."""
    classes = {Verdict.MET: "met", Verdict.NOT_MET: "missed", Verdict.UNKNOWN: "note", Verdict.TOO_FEW: "note"}
    shown = [
        (
            row.name,
            element("span", row.verdict.value, class_=classes[row.verdict]),
            *target_texts(row),
            row.sample,
        )
        for row in rows
    ]
    head = ("Promise", "Verdict", "Target", "Measured", "95 % interval", "Rests on")
    note = (
        "Targets are what public descriptions of the method state. Win rates have Wilson intervals; the account's "
        "figures have intervals from 1,000 stationary-bootstrap paths of its daily returns, which know nothing of "
        f"crises that are not in the sample; with under {FEWEST_MOVES} days that moved there is neither an interval "
        "nor a Sharpe ratio."
    )
    return join(
        [table(head, shown, "Targets and measurements", (2, 3, 4), stacked=True), element("p", note, class_="note")]
    )


def calendars(record: RunRecord) -> list[Markup]:
    """One calendar a strategy that decided or traded; the first is open, the others are folded."""
    journal = record.journal
    names = dict.fromkeys(
        [*(decision.strategy for decision in journal.decisions), *(trade.strategy for trade in journal.trades)]
    )
    held = open_trades(journal, lives_of(journal))
    parts: list[Markup] = []
    for name in names:
        cells = day_cells(
            [decision for decision in journal.decisions if decision.strategy == name],
            [trade for trade in (*journal.trades, *held) if trade.strategy == name],
            record.start,
            record.end,
            fridays=name == "friday_0dte",
        )
        body = calendar(cells)
        title = strategy_title(name)
        folded = element("details", element("summary", f"{title}: {len(cells)} entry days"), body)
        parts.append(folded if parts else join([element("h3", title), body]))
    return parts or [element("p", "No strategy recorded a decision.", class_="note")]


def skips_table(record: RunRecord) -> Markup:
    """The ten most frequent reasons not to trade."""
    reasons = skip_reasons(record.journal.decisions)
    if not reasons:
        return element("p", "Nothing was skipped.", class_="note")
    rows = [
        (reason.count, strategy_title(reason.strategy), reason.rule.replace("_", " "), reason.example)
        for reason in reasons
    ]
    head = ("Times", "Strategy", "Rule", "For example")
    return table(head, rows, "The most frequent reasons not to trade", (0,), stacked=True)


def strategy_tiles(summary: Summary) -> Markup:
    """A tile a strategy: what it brought, of how many trades."""
    if len(summary.strategies) < 2:
        return Markup()
    shown = [
        (
            strategy_title(row.name),
            element("span", money(row.profit, signed=True), class_="up" if row.profit > 0 else "down"),
            f"{row.wins} of {row.count} won; average win {money(row.average_win, signed=True)}, loss "
            f"{money(row.average_loss, signed=True)}; credit kept {percent(row.credit_kept)}",
        )
        for row in summary.strategies
    ]
    return tile_list(shown)


def strategies_table(summary: Summary) -> Markup:
    """One row a strategy, then all together."""
    if summary.total.count == 0:
        return element("p", "No trade was closed.", class_="note")
    rows = [
        (
            strategy_title(row.name), row.count, percent(row.win_rate), span(row.win_interval, Unit.PERCENT),
            span(row.win_posterior, Unit.PERCENT), money(row.profit, signed=True), money(row.average_win, signed=True),
            money(row.average_loss, signed=True), number(row.profit_factor), percent(row.credit_kept), money(row.fees),
            row.longest_losing_streak,
        )
        for row in (*summary.strategies, summary.total)
    ]  # fmt: skip
    head = (
        "Strategy", "Trades", "Wins", "Wilson 95 %", "With prior 95 %", "Profit", "Average win", "Average loss",
        "Profit factor", "Credit kept", "Fees", "Losses in a row",
    )  # fmt: skip
    return table(head, rows, "Closed trades by strategy", tuple(range(1, len(head))), stacked=True)


def exits_table(journal: Journal) -> Markup:
    """What ended each kind of part: profit by exit rule, and how long it was held."""
    order = list(dict.fromkeys(trade.strategy for trade in journal.trades))
    rows = [
        (
            strategy_title(row.strategy), row.part, row.rule.replace("_", " "), row.count,
            percent(row.wins / row.count), money(row.profit, signed=True), f"{row.days:.1f}",
        )
        for row in sorted(part_exits(journal.trades), key=lambda row: order.index(row.strategy))
    ]  # fmt: skip
    head = ("Strategy", "Part", "Ended by", "Trades", "Wins", "Profit", "Days in trade")
    return (
        table(head, rows, "Closed trades by part and what ended them", (3, 4, 5, 6), stacked=True) if rows else join([])
    )


def fills_table(fills: FillSummary | None) -> Markup:
    """The fill assumption, and the same trades at others, from the quotes of their own minutes."""
    if fills is None:
        return element("p", "No fill was recorded.", class_="note")
    note = (
        "From the quotes of each fill's own minute, after fees. Only the prices of fills change: entries, exits and "
        "expiries are those of this run, so another assumption would also have traded at other times."
    )
    head = ("If filled at", "Profit", "Positions won", "Means")
    shown = table(head, table_rows(fills), "The same trades at other fills", (1, 2), stacked=True)
    return join([element("p", f"{fills.title}."), shown, element("p", note, class_="note")])


def risk_part(journal: Journal) -> list[Markup]:
    """How the account stood at its closes, what the rules said, and what failed."""
    return [standings_table(journal.standings), risk_table(journal.risk), errors_table(journal.errors)]


def standings_table(standings: Sequence[Standing]) -> Markup:
    """The cap in force at each close and the health of what was held; the latest when there are very many."""
    if not standings:
        return element("p", "No close was seen.", class_="note")
    rows = [(str(row.day), row.lines[0], "; ".join(row.lines[1:]) or "none") for row in standings[-MOST_CLOSES:]]
    head = ("Close", "Buying power and its cap", "Health of what was held (100 less what it says)")
    shown = table(head, rows, f"At the close, {len(rows)} of {len(standings)}", stacked=True)
    last = element("p", f"At the last close: {'; '.join(standings[-1].lines)}.")
    return join([last, element("details", element("summary", f"{len(standings)} closes"), shown)])


def risk_table(notes: Sequence[RiskNote]) -> Markup:
    """What the risk rules shrank, denied or warned of; the latest when there are very many."""
    if not notes:
        return element("p", "No risk rule spoke up.", class_="note")
    rows = [
        (f"{note.time:%Y-%m-%d %H:%M}", note.rule.replace("_", " "), note.severity,
         strategy_title(note.strategy) if note.strategy else "",
         number(note.limit), number(note.observed), note.reason)
        for note in notes[-MOST_NOTES:]
    ]  # fmt: skip
    head = ("Time", "Rule", "Severity", "Strategy", "Limit", "Observed", "Words")
    shown = table(head, rows, f"Risk rules, {len(rows)} of {len(notes)} rows", (4, 5), stacked=True)
    return element("details", element("summary", f"{len(notes)} rows of risk rules"), shown)


def errors_table(notes: Sequence[ErrorNote]) -> Markup:
    """Everything that failed, or that nothing did."""
    if not notes:
        return element("p", "No error was recorded.", class_="note")
    rows = [(f"{note.time:%Y-%m-%d %H:%M}", note.component, note.reason, note.detail) for note in notes[-MOST_NOTES:]]
    head = ("Time", "Component", "What", "Detail")
    return table(head, rows, f"Errors, {len(rows)} of {len(notes)}", stacked=True)


def provenance(origin: Provenance) -> list[Markup]:
    """What is real, what is modelled, and what should not be concluded."""
    lists = (
        ("Real", origin.real),
        ("Modelled", origin.modelled),
        ("How kind it was to this run", origin.measured),
        ("Do not conclude", origin.cautions),
    )
    return [
        join([element("h3", title), element("ul", *(element("li", item) for item in items))])
        for title, items in lists
        if items
    ]


def settings_part(record: RunRecord) -> list[Markup]:
    """The run's facts, all settings, and the engine's own statistics."""
    parts = []
    if record.facts:
        parts.append(table(("Fact", "Value"), list(record.facts.items()), "The run"))
    parts.append(element("details", element("summary", "All settings"), element("pre", record.settings)))
    if record.engine_statistics:
        parts.append(element("p", LEAN_DIFFERS, class_="note"))
        statistics = table(("Statistic", "Value"), lean_rows(record.engine_statistics), "As LEAN computes them")
        parts.append(element("details", element("summary", "LEAN's statistics"), statistics))
    return parts


def lean_rows(statistics: Mapping[str, str]) -> list[tuple[str, str]]:
    """LEAN's statistics, those that the page has too under a name that says whose they are."""
    return [(f"{name} ({LEAN_NAMES[name]})" if name in LEAN_NAMES else name, text) for name, text in statistics.items()]
