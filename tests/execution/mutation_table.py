"""The safety rules of execution and state by name, in the form of ``tests/risk/mutation_table.py``."""

from __future__ import annotations

from tests.risk.mutation_table import Mutation

ATTACKS, REPORTS, PACE, GATES, REFUSALS = (
    f"tests/execution/test_{name}.py" for name in ("attacks", "reports", "pace", "gates", "refusals")
)
DISK, ENDS = "tests/state/test_disk_faults.py", "tests/strategies/test_contract_ends.py"

EXECUTION_RULES = (
    Mutation(
        "a hedge waits for the short that it covers, in an unwind",
        "execution/gates.py",
        "        if not bares(held, (*free, leg)):\n            free.append(leg)",
        "        free.append(leg)",
        GATES,
    ),
    Mutation(
        "what an order is selling covers nothing any more",
        "execution/gates.py",
        "        if not group.opens and leg.ratio < 0\n",
        "        if group.opens and leg.ratio < 0\n",
        GATES,
    ),
    Mutation(
        "the account is asked before an exit",
        "execution/gates.py",
        "        if self._gap(legs):\n            self.look()\n",
        "        if False:\n            self.look()\n",
        ATTACKS,
    ),
    Mutation(
        "the account is asked before an entry",
        "execution/gates.py",
        "        if not self._gap(package.legs):\n            return None",
        "        if True:\n            return None",
        ATTACKS,
    ),
    Mutation(
        "a foreign fill is taken at once",
        "execution/executor.py",
        "            self.account.foreign(event.contract)\n",
        "            continue_ = event.contract\n",
        ATTACKS,
    ),
    Mutation(
        "a report counts once",
        "execution/reports.py",
        "        again = bool(marks & seen)\n",
        "        again = False\n",
        REPORTS,
    ),
    Mutation(
        "never more counts than was ordered",
        "execution/reports.py",
        "    new = _within(room, event.fill_quantity)\n",
        "    new = event.fill_quantity + 0 * room\n",
        REPORTS,
    ),
    Mutation(
        "fills without an identity are what the account holds",
        "execution/executor.py",
        "        self.account.believed(group)\n",
        "",
        REPORTS,
    ),
    Mutation(
        "what fills after its end is a position",
        "execution/sending.py",
        "        elif group.fresh_count:\n            self.late(group)\n",
        "",
        REPORTS,
    ),
    Mutation(
        "a late package joins what filled before",
        "execution/reports.py",
        "        if known is not None and before and stands:",
        "        if known is not None and before and stands and known.id == '':",
        REPORTS,
    ),
    Mutation(
        "a late price goes to its trade",
        "execution/sending.py",
        "        if priced:\n            self.priced(",
        "        if priced and group.opens:\n            self.priced(",
        REPORTS,
    ),
    Mutation(
        "what the broker forgot is decided by the account",
        "execution/sending.py",
        "        return now > group.absent_since\n",
        "        return False\n",
        REPORTS,
    ),
    Mutation(
        "a halt and an emergency take working entries back",
        "execution/executor.py",
        "                self._working.cancel(group, reason)\n\n    def _on_halted",
        "                continue\n\n    def _on_halted",
        ATTACKS,
    ),
    Mutation(
        "an unwind goes on after a restart",
        "execution/recovery.py",
        '            self._executor.go_on_unwinding(subject.id, subject.detail.get("unwinding", ()))\n',
        "            continue\n",
        ATTACKS,
    ),
    Mutation(
        "no look while an order is being sent",
        "execution/recovery.py",
        "        if self._looking or self._state.acting:",
        "        if self._looking:",
        ATTACKS,
    ),
    Mutation(
        "an order has four legs at most",
        "execution/gates.py",
        "    if len(legs) <= most:\n        return [tuple(legs)]\n",
        "    if most > 0:\n        return [tuple(legs)]\n",
        ATTACKS,
    ),
    Mutation(
        "no more orders a minute than allowed",
        "execution/walking.py",
        "        return len(self._taken) < (self._count if emergency else self._ordinary)",
        "        return True",
        PACE,
    ),
    Mutation(
        "ordinary traffic never holds an emergency back",
        "execution/walking.py",
        "        return len(self._taken) < (self._count if emergency else self._ordinary)",
        "        return len(self._taken) < self._ordinary",
        PACE,
    ),
    Mutation(
        "a refused cancel is asked again",
        "execution/sending.py",
        "                self._insist(group, now)\n",
        "                continue\n",
        REFUSALS,
    ),
    Mutation(
        "half a line is cut off again",
        "state/store.py",
        "            self._take_back(self._descriptor)\n",
        "",
        DISK,
    ),
    Mutation(
        "what the disk did not take is owed",
        "state/manager.py",
        "            self._store.owe(record)\n",
        "",
        DISK,
    ),
    Mutation(
        "no act without its intent on the disk",
        "state/manager.py",
        '        self._write({**record, "detail": detail}, first=True)\n',
        '        self._write({**record, "detail": detail})\n',
        DISK,
    ),
    Mutation(
        "NaN is no number of a record",
        "state/store.py",
        "    return value if math.isfinite(value) else _no_number(text)\n",
        "    return value\n",
        DISK,
    ),
    Mutation(
        "morning-settled contracts go the day before",
        "strategies/exits.py",
        "        if contract.settlement not in (Settlement.CASH_MORNING, Settlement.PHYSICAL_FUTURE):",
        "        if contract.settlement is not Settlement.PHYSICAL_FUTURE:",
        ENDS,
    ),
    Mutation(
        "options on futures go before their last moment",
        "strategies/exits.py",
        "        if contract.settlement not in (Settlement.CASH_MORNING, Settlement.PHYSICAL_FUTURE):",
        "        if contract.settlement is not Settlement.CASH_MORNING:",
        ENDS,
    ),
    Mutation(
        "a short call goes before the dividend",
        "strategies/exits.py",
        "        return (quote.bid + quote.ask) / 2 - (tick.price - contract.strike) < dividend",
        "        return False",
        ENDS,
    ),
)
