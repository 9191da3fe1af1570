"""Importers of recorded chains: each layout from a few lines of its own, moments in any language, forwards."""
# ruff: noqa: RUF001 - months and dates of Cyrillic readers

from __future__ import annotations

import gzip
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from simulation.market.recordings.files import RecordedError, Series, chains, read, settlement
from simulation.market.recordings.moments import moment_of_quotes, stated_moment
from simulation.market.recordings.slices import forward_by_parity, implied_deviation, slices
from simulation.market.surface import black

HEADER = (
    "Expiration Date,Calls,Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest,Strike,"
    "Puts,Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
)
SIDE = "Last Sale,Net,Bid,Ask,Volume,Open Interest"
SHORT_HEADER = f"Expiration Date,Calls,{SIDE},Strike,Puts,{SIDE}"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ('"Date: January 9, 2022, 3:11 AM EST",Bid: 4619.75,Ask: 4727.2', datetime(2022, 1, 9, 3, 11)),
        ("March 23, 2022 at 10:11 AM EDT", datetime(2022, 3, 23, 10, 11)),
        ("Mar 22 2020 @ 18:24 ET,Bid,2243.68,Ask,2677.6", datetime(2020, 3, 22, 18, 24)),
        ("23 de marzo de 2022, 10:11 GMT-4", datetime(2022, 3, 23, 10, 11)),
        ("Date: 23 de març de 2022, 16:11 CET", datetime(2022, 3, 23, 11, 11)),  # Catalan; New York is on summer time
        ("Date: 9 декабря 2023 г. в 13:49 GMT-5,Bid: 4579.8", datetime(2023, 12, 9, 13, 49)),
        ("Date: 17 April 2023, 22:53 UTC\u22124,Bid: 4126.18", datetime(2023, 4, 17, 22, 53)),
        ("Date: 18. April 2023 um 04:53 MESZ", datetime(2023, 4, 17, 22, 53)),
        ("Date: 18 avril 2023 à 04:53 UTC+2", datetime(2023, 4, 17, 22, 53)),
        ("Date: 18 août 2023 à 15:53 UTC+2", datetime(2023, 8, 18, 9, 53)),
        ("Date: 4 de fevereiro de 2022 12:30 BRT", datetime(2022, 2, 4, 10, 30)),
        ("Date: 2022年3月23日 GMT-4 10:11", datetime(2022, 3, 23, 10, 11)),
        ("Date: 2022年3月23日 GMT+8 下午10:11", datetime(2022, 3, 23, 10, 11)),
        ("Date: 15 maja 2023, 17:47 CEST", datetime(2023, 5, 15, 11, 47)),
        ("Date: 1 July 2022 at 19:30:05 IST", datetime(2022, 7, 1, 10, 0)),
    ],
)
def test_as_of_lines_of_any_reader(line: str, moment: datetime) -> None:
    assert stated_moment(line) == moment


def test_an_as_of_line_without_a_zone_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="expected a zone"):
        stated_moment("March 23, 2022 at 10:11 AM")
    with pytest.raises(ValueError, match="expected a day"):
        stated_moment("sometime")


@pytest.mark.parametrize(
    ("stated", "moment", "evening"),
    [
        (datetime(2022, 7, 12, 11, 55), datetime(2022, 7, 12, 11, 55), False),
        (datetime(2023, 2, 7, 17, 34), datetime(2023, 2, 7, 16, 0), False),
        (datetime(2022, 1, 9, 3, 11), datetime(2022, 1, 7, 16, 0), False),  # Sunday: no session before Monday night
        (datetime(2023, 4, 17, 22, 53), datetime(2023, 4, 17, 16, 0), True),
        (datetime(2023, 4, 18, 7, 0), datetime(2023, 4, 17, 16, 0), True),
        (datetime(2016, 11, 25, 14, 25), datetime(2016, 11, 25, 13, 0), False),  # a half day
        (datetime(2023, 5, 19, 20, 30), datetime(2023, 5, 19, 16, 0), False),  # Friday: nothing trades that night
    ],
)
def test_quotes_shown_out_of_hours_are_of_the_close(stated: datetime, moment: datetime, evening: bool) -> None:
    assert moment_of_quotes(stated) == (moment, evening)


def row(
    expiry: str, code: str, strike: str, call: tuple[str, str], put: tuple[str, str], *, short: bool = False
) -> str:
    more = [] if short else ["0.2", "0.5", "0.001"]
    left = [expiry, code.replace("?", "C"), "1", "0", *call, "3", *more, "7", strike]
    return ",".join([*left, code.replace("?", "P"), "1", "0", *put, "3", *more, "7"])


def test_a_quote_table_of_today(tmp_path: Path) -> None:
    lines = [
        "",
        "S&P 500 INDEX,Last: 4604.3701,Change:  18.7801",
        "Date: 9 декабря 2023 г. в 13:49 GMT-5,Bid: 4579.7998,Ask: 4623.75,Size: 1*1,Volume: 0",
        HEADER,
        row("Fri Dec 08 2023", "SPXW231208?04600000", "4600.00", ("4", "5"), ("0", "0.05")),
        row("Fri Dec 15 2023", "SPX231215?04600000", '"4,600.00"', ("40", "41"), ("30", "31")),
        row("Fri Dec 15 2023", "SPXW231215?04600000", "4600.00", ("42", "43"), ("0", "0.05")),
    ]
    (chain,) = read(written(tmp_path, "SPX_2023-12-08.csv.gz", "\n".join(lines)))
    assert (chain.underlying, chain.moment, chain.spot) == ("SPX", datetime(2023, 12, 8, 16, 0), 4604.3701)
    assert chain.before == pytest.approx(4585.59)
    # What expired on the 8th is gone; the 15th has two series, one settled in the morning.
    assert [one.series.root for one in chain.quotes] == ["SPX", "SPX", "SPXW", "SPXW"]
    assert settlement("SPX", date(2023, 12, 15)) == datetime(2023, 12, 15, 9, 30)
    assert settlement("SPXW", date(2023, 12, 15)) == datetime(2023, 12, 15, 16, 0)
    assert chain.quotes[0].series == Series("SPX", date(2023, 12, 15), 4600.0, 1)
    assert (chain.quotes[0].bid, chain.quotes[0].ask) == (40.0, 41.0)
    assert (chain.quotes[3].bid, chain.quotes[3].ask) == (None, 0.05)


def test_a_quote_table_without_greeks_and_with_the_old_dates(tmp_path: Path) -> None:
    lines = [
        "^SPX (Standard & Poors 500 Index),2304.92,-104.4701",
        "Mar 22 2020 @ 18:24 ET,Bid,2243.68,Ask,2677.6,Size,1x1,Vol,",
        SHORT_HEADER,
        row("03/23/2020", "SPXW200323?02300000", "2300.000", ("40", "50"), ("35", "36"), short=True),
    ]
    (chain,) = read(written(tmp_path, "SPX.dat", "\n".join(lines)))
    assert chain.moment == datetime(2020, 3, 20, 16, 0)
    assert chain.before == pytest.approx(2409.3901)
    assert [(one.bid, one.ask) for one in chain.quotes] == [(40.0, 50.0), (35.0, 36.0)]


def test_a_quote_table_of_before_2019(tmp_path: Path) -> None:
    def pair(text: str, code: str, exchange: str, bid: str) -> str:
        call, put = (f"{text} ({code[:-8]}{code[-8:].replace('?', letter)}{exchange})" for letter in "KW")
        return f"{call},44.55,0.0,{bid},47.98,0,6,{put},0.04,0.0, ,0.01,0,7749,"

    lines = [
        "SPY (SPDR S&P 500 ETF TRUST),221.52,+0.82,",
        "Nov 25 2016 @ 14:25 ET,Bid,221.59,Ask,221.60,Size,49x12,Vol,37520435,",
        "Calls,Last Sale,Net,Bid,Ask,Vol,Open Int,Puts,Last Sale,Net,Bid,Ask,Vol,Open Int,",
        pair("16 Nov 175.00", "SPY1630?175", "-3", "1.0"),
        pair("16 Nov 175.00", "SPY1630?175", "", "45.34"),
        pair("16 Nov 175.00", "SPY1630?175", "-A", "2.0"),
    ]
    (chain,) = read(written(tmp_path, "SPY.dat", "\n".join(lines)))
    assert chain.moment == datetime(2016, 11, 25, 13, 0)
    assert [one.series for one in chain.quotes] == [
        Series("SPY", date(2016, 11, 30), 175.0, 1), Series("SPY", date(2016, 11, 30), 175.0, -1),
    ]  # fmt: skip
    assert [(one.bid, one.ask) for one in chain.quotes] == [(45.34, 47.98), (None, 0.01)]


def test_opt_sum_joins_classes_and_drops_what_carries_a_wrong_expiry(tmp_path: Path) -> None:
    head = "TRADE_DT,UNDLY,CLS,EXPR_DT,STRK_PRC,PC,OIT,VOL,HIGH,LOW,OPEN,LAST,L_BID,L_ASK,UNDL_PRC,S_TYPE,P_TYPE"
    lines = [head]
    for kind, strike, bid in (("JXA", 1150.0, 9.0), ("QSE", 1155.0, 9.0), ("SPT", 1160.0, 5.0), ("SPQ", 1165.0, 0.0)):
        lines.append(f"2008-09-29,SPX,{kind},2008-10-18,{strike},P,0,0,0,0,0,0,{bid},6.0,1106.42,Standard,Index")
    (chain,) = read(written(tmp_path, "spx_2008-09.csv", "\n".join(lines)))
    friday = date(2008, 10, 17)
    assert [(one.series, one.bid) for one in chain.quotes] == [
        (Series("SPX", friday, 1160.0, -1), 5.0), (Series("SPX", friday, 1165.0, -1), None),
    ]  # fmt: skip
    assert (chain.moment, chain.spot) == (datetime(2008, 9, 29, 16, 0), 1106.42)


def test_data_shop_at_a_quarter_to_four_and_by_intervals(tmp_path: Path) -> None:
    eod = (
        "\ufeffquote_date,expiration,strike,option_type,bid_1545,ask_1545,underlying_bid_1545,underlying_ask_1545\n"
        "2021-11-26,2021-12-17,4600,C,0.0000,79.0,4594.0,4596.0\n2021-11-26,2021-11-24,4600,P,1,2,4594,4596\n"
    )
    (chain,) = read(written(tmp_path, "spxw_2021-11-26.csv", eod))
    assert (chain.moment, chain.spot) == (datetime(2021, 11, 26, 12, 45), 4595.0)  # a half day
    assert [(one.series.root, one.bid, one.ask) for one in chain.quotes] == [("SPXW", None, 79.0)]
    head = "underlying_symbol,quote_datetime,root,expiration,strike,option_type,bid,ask,underlying_bid,underlying_ask"
    rows = [f"^VIX,2021-04-26 {hour}:00:00,VIXW,2021-04-28,18.000,P,0.4,0.5,17.8,17.8" for hour in (11, 10)]
    found = read(written(tmp_path, "vix.csv", "\n".join([head, *rows])))
    assert [one.moment.hour for one in found] == [10, 11]
    assert found[0].underlying == "VIX"
    assert settlement("VIXW", date(2021, 4, 28)) == datetime(2021, 4, 28, 9, 30)


def test_option_metrics_and_discount_option_data(tmp_path: Path) -> None:
    head = "secid,date,symbol,symbol_flag,exdate,cp_flag,strike_price,best_bid,best_offer,root,ticker,am_set_flag"
    rows = [
        "108105,20110915,SPX 111022C1200000,1,20111022,C,1200000,30.5,31.5,,SPX,1",
        "108105,20110915,SPXW 110923P1200000,1,20110923,P,1200000,20,21,,SPX,1",
        "108105,20110915,SPQ.RT,0,20110917,P,1200000,19,20,SPQ,SPX,1",
    ]
    (chain,) = read(written(tmp_path, "spx_2011-09-15.csv", "\n".join([head, *rows])))
    assert [one.series for one in chain.quotes] == [
        Series("SPX", date(2011, 10, 21), 1200.0, 1), Series("SPXW", date(2011, 9, 23), 1200.0, -1),
        Series("SPX", date(2011, 9, 16), 1200.0, -1),
    ]  # fmt: skip
    head = "date, symbol, under, expiration, strike, put/call, bid, ask, price, volume, open interest, nonstd"
    rows = [
        "2015-01-05,SPY   150102C00200000,SPY,2015-01-02,200,C,1,2,0,0,0,104",
        "2015-01-05,SPY   150117C00200000,SPY,2015-01-17,200,C,3,4,0,0,0,0",
        "2015-01-05,SPY7  150117C00200000,SPY,2015-01-17,200,C,3,4,0,0,0,7",
        "2015-01-05,SPY   150331P00200000,SPY,2015-03-31,200,P,5,6,0,0,0,103",
    ]
    (chain,) = read(written(tmp_path, "spy.csv", "\n".join([head, *rows])))
    assert [(one.series.expiry, one.bid) for one in chain.quotes] == [
        (date(2015, 1, 16), 3.0),
        (date(2015, 3, 31), 5.0),
    ]


def test_what_cannot_be_read_says_where(tmp_path: Path) -> None:
    with pytest.raises(RecordedError, match="expected a Cboe quote table"):
        read(written(tmp_path, "prices.csv", "date,close\n2020-01-02,1\n"))
    bad = "quote_date,expiration,strike,option_type,bid_1545\n2021-11-26,soon,4600,C,1\n"
    with pytest.raises(RecordedError, match=r"bad\.csv line 2"):
        read(written(tmp_path, "bad.csv", bad))
    lines = [
        "S&P 500,Last: 1,Change: 0",
        "Date: 9 March 2022 at 10:11 EST",
        HEADER,
        row("x", "!", "1", ("1", "2"), ("1", "2")),
    ]
    with pytest.raises(RecordedError, match="line 4: symbol"):
        read(written(tmp_path, "table.csv", "\n".join(lines)))
    with pytest.raises(RecordedError, match="no recordings"):
        chains(tmp_path / "nowhere")


def test_forward_and_volatility_by_hand() -> None:
    """A forward of 4010 discounted by 0.99: calls less puts are 0.99 (4010 - K), whatever the volatilities."""
    strikes = np.arange(3800.0, 4200.0, 10.0)
    put = np.full(len(strikes), 25.0)
    call = put + 0.99 * (4010.0 - strikes)
    call[3] = np.nan
    found = forward_by_parity(strikes, call, put, 0.5, 0.0)
    assert found is not None
    assert found[0] == pytest.approx(4010.0)
    assert found[1] == pytest.approx(0.99, abs=1e-6)
    assert forward_by_parity(strikes[:2], call[:2], put[:2], 0.5, 0.0) is None
    price = black(np.full(3, 100.0), np.array([90.0, 100.0, 120.0]), np.full(3, 0.04), 1.0, np.array([-1.0, 1.0, 1.0]))
    deviation = implied_deviation(price, 100.0, np.array([90.0, 100.0, 120.0]), np.array([-1.0, 1.0, 1.0]))
    assert deviation == pytest.approx(np.full(3, 0.2), abs=1e-9)


def test_slices_of_a_chain_whose_prices_are_known(tmp_path: Path) -> None:
    """Prices of one volatility and a forward of 4610: the slice has them back."""
    lines = ["S&P 500,Last: 4600,Change: 10", "Date: 8 March 2022 at 12:00 EST", HEADER]
    years = (datetime(2022, 4, 14, 16) - datetime(2022, 3, 8, 12)).total_seconds() / (365.0 * 86_400.0)
    for strike in range(4400, 4825, 25):
        at = np.array([float(strike)])
        values = [float(black(np.array([4610.0]), at, np.array([0.04 * years]), 1.0, sign)[0]) for sign in (1.0, -1.0)]
        sides = [(f"{value - 0.05:.4f}", f"{value + 0.05:.4f}") for value in values]
        lines.append(row("Thu Apr 14 2022", f"SPXW220414?0{strike}000", f"{strike}.00", sides[0], sides[1]))
    (chain,) = read(written(tmp_path, "SPX.csv", "\n".join(lines)))
    (part,) = slices(chain, 0.0)
    assert part.forward == pytest.approx(4610.0, abs=0.01)
    known, sides_of, mid, width = part.outer()
    assert width == pytest.approx(np.full(len(width), 0.1), abs=1e-6)
    deviation = implied_deviation(mid / part.discount, part.forward, known, sides_of)
    assert deviation / part.years**0.5 == pytest.approx(np.full(len(mid), 0.2), abs=2e-3)
