"""The rules by which no long is sold that a short may need, and by which what is sure of fills counts, by name."""

from __future__ import annotations

from tests.risk.mutation_table import Mutation

HEDGES = "tests/execution/test_hedges.py"

HEDGE_RULES = (
    Mutation(
        "a short whose fill was lost keeps its hedge",
        "execution/gates.py",
        "        behind = sells and bool(self._gates.uncounted(position.id))\n",
        "        behind = sells and not position.id\n",
        HEDGES,
    ),
    Mutation(
        "a hedge that is being sold is taken back",
        "execution/executor.py",
        "        self.account.keep_hedges(position)\n",
        "",
        HEDGES,
    ),
    Mutation(
        "a short that turns up behind a hedge at work is looked for",
        "execution/gates.py",
        "        self._watch_hedges()\n",
        "",
        HEDGES,
    ),
    Mutation(
        "a short of nobody keeps the hedge of its package",
        "execution/gates.py",
        "        nobodys = self._gates.nobodys_shorts(position.id)\n",
        "        nobodys = ()\n",
        HEDGES,
    ),
    Mutation(
        "what an entry may sell short yet keeps its hedge",
        "execution/walking.py",
        " if leg.ratio > 0 else group.wanted(leg)) - counted)\n",
        " if leg.ratio > 0 else 0) - counted)\n",
        HEDGES,
    ),
    Mutation(
        "nothing opens onto a hedge that goes",
        "execution/gates.py",
        "        if then <= before:\n            return None\n",
        "        if then <= before + 99:\n            return None\n",
        HEDGES,
    ),
    Mutation(
        "an exit closes what moved to another part",
        "execution/tracker.py",
        "ChangeKind.CLOSED, now, others_too=True)",
        "ChangeKind.CLOSED, now)",
        HEDGES,
    ),
    Mutation(
        "and that part goes whole",
        "execution/reports.py",
        "        return tuple(dict.fromkeys((*new, *less)))\n",
        "        return tuple(new or less[:0])\n",
        HEDGES,
    ),
    Mutation(
        "what one report told filled",
        "execution/gates.py",
        "fill.sure if group.opens else 0.0, key=abs)",
        "0.0 * fill.sure, key=abs)",
        HEDGES,
    ),
    Mutation(
        "a leg that is filled whole is written so",
        "execution/sending.py",
        "                self._states.filled_some(group)\n        return found\n",
        '                record_step(self._journal, group, "")\n        return found\n',
        HEDGES,
    ),
    Mutation(
        "what filled at a price that nobody knows counts at the middle of its quotes",
        "execution/reports.py",
        "        guess_price(group, leg, gap, quote)\n",
        "",
        HEDGES,
    ),
    Mutation(
        "and at its own once that is told",
        "execution/reports.py",
        "    guess = fill.guess * priced / fill.unpriced if priced else 0.0",
        "    guess = 0.0 * fill.guess",
        HEDGES,
    ),
)
