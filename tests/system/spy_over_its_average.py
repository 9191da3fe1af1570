"""An algorithm of somebody else's, to try `--algorithm` with: SPY while it is over its average of 10 days."""

from AlgorithmImports import QCAlgorithm, Resolution


class SpyOverItsAverage(QCAlgorithm):
    """Buys at the open after a close above the average, sells after one below it."""

    def initialize(self) -> None:
        """Dates, cash, one subscription and one indicator."""
        self.set_start_date(2016, 1, 4)
        self.set_end_date(2016, 2, 26)
        self.set_cash(50_000)
        self.spy = self.add_equity("SPY", Resolution.MINUTE).symbol
        self.average = self.sma(self.spy, int(self.get_parameter("days", 10)), Resolution.DAILY)
        self.schedule.on(self.date_rules.every_day(self.spy), self.time_rules.after_market_open(self.spy, 5), self.look)

    def look(self) -> None:
        """Once a day, five minutes after the open."""
        if not self.average.is_ready:
            return
        wanted = self.securities[self.spy].price > self.average.current.value
        if wanted and not self.portfolio.invested:
            self.set_holdings(self.spy, 0.9)
        if not wanted and self.portfolio.invested:
            self.liquidate()
