"""Risk-free rate and dividend yields by year: published annual figures, so that no run depends on the network."""

from __future__ import annotations

from datetime import date

# Three-month Treasury bill, secondary market, average of the year in percent.
# Source: Federal Reserve H.15 (FRED series TB3MS, annual averages).
TREASURY_BILL: dict[int, float] = {
    1990: 7.49, 1991: 5.38, 1992: 3.43, 1993: 3.00, 1994: 4.25, 1995: 5.49, 1996: 5.01, 1997: 5.06, 1998: 4.78,
    1999: 4.64, 2000: 5.82, 2001: 3.39, 2002: 1.60, 2003: 1.01, 2004: 1.37, 2005: 3.15, 2006: 4.73, 2007: 4.35,
    2008: 1.37, 2009: 0.15, 2010: 0.14, 2011: 0.05, 2012: 0.09, 2013: 0.06, 2014: 0.03, 2015: 0.05, 2016: 0.32,
    2017: 0.93, 2018: 1.94, 2019: 2.06, 2020: 0.36, 2021: 0.04, 2022: 2.02, 2023: 5.07, 2024: 4.97, 2025: 4.07,
}  # fmt: skip

# S&P 500 dividend yield, end of the year in percent. Source: Standard & Poor's figures as tabulated by R. Shiller
# and multpl.com.
SP500_YIELD: dict[int, float] = {
    1990: 3.68, 1991: 3.14, 1992: 2.90, 1993: 2.72, 1994: 2.91, 1995: 2.30, 1996: 2.01, 1997: 1.60, 1998: 1.32,
    1999: 1.17, 2000: 1.22, 2001: 1.37, 2002: 1.79, 2003: 1.61, 2004: 1.60, 2005: 1.79, 2006: 1.77, 2007: 1.89,
    2008: 3.11, 2009: 2.02, 2010: 1.83, 2011: 2.13, 2012: 2.20, 2013: 1.94, 2014: 1.92, 2015: 2.11, 2016: 2.03,
    2017: 1.84, 2018: 2.09, 2019: 1.82, 2020: 1.58, 2021: 1.29, 2022: 1.71, 2023: 1.50, 2024: 1.24, 2025: 1.16,
}  # fmt: skip


def _of_year(table: dict[int, float], year: int) -> float:
    return table[min(max(year, min(table)), max(table))] / 100.0


def risk_free(day: date) -> float:
    """Yearly risk-free rate of ``day``'s year, continuous, as a fraction; the nearest known year outside the table."""
    return _of_year(TREASURY_BILL, day.year)


def index_dividend_yield(day: date) -> float:
    """Yearly dividend yield of the S&P 500 in ``day``'s year, continuous, as a fraction."""
    return _of_year(SP500_YIELD, day.year)


def interest_rates() -> dict[date, float]:
    """Risk-free rate from the first day of each year on, as fractions.

    What LEAN's interest-rate file holds (there in percent).
    """
    return {date(year, 1, 1): percent / 100.0 for year, percent in sorted(TREASURY_BILL.items())}
