"""When the quotes of a delayed table were taken, from its as-of line in the reader's own language and zone."""
# ruff: noqa: RUF001 - months and dates of Cyrillic readers

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, time, timedelta, timezone

from simulation.market.calendar import NEW_YORK, OPEN_MINUTE, calendar

# First letters of each month as browsers write it: English, Spanish, Portuguese, French, Italian, German, Dutch,
# Polish, Turkish, Swedish, Russian, Ukrainian. Accents are taken off before; the longest beginning that fits decides.
_MONTHS = (
    "jan ene gen sty oca янв січ",
    "feb fev fév lut sub фев лют",
    "mar mär maa mrt maр мар бер",
    "apr abr avr kwi nis апр кві",
    "may mai mag mei maj мая май тра",
    "jun juin giu cze haz июн чер",
    "jul juil lug lip tem июл лип",
    "aug ago aou sie agu авг сер",
    "sep set wrz eyl сен вер",
    "oct out ott okt paz eki окт жов",
    "nov lis kas ноя лис",
    "dec dic dez gru ara дек гру",
)
_ZONES = {
    "GMT": 0.0, "UTC": 0.0, "WET": 0.0, "BST": 1.0, "WEST": 1.0, "CET": 1.0, "MEZ": 1.0, "CEST": 2.0, "MESZ": 2.0,
    "EET": 2.0, "EEST": 3.0, "MSK": 3.0, "IST": 5.5, "HKT": 8.0, "SGT": 8.0, "JST": 9.0, "KST": 9.0, "AEST": 10.0,
    "AEDT": 11.0, "EST": -5.0, "EDT": -4.0, "CST": -6.0, "CDT": -5.0, "MST": -7.0, "MDT": -6.0, "PST": -8.0,
    "PDT": -7.0, "BRT": -3.0, "ART": -3.0, "AKST": -9.0, "AKDT": -8.0, "HST": -10.0,
}  # fmt: skip
_SHIFTED = re.compile(r"(?:GMT|UTC)\s*([-+])\s*(\d{1,2})(?::?(\d\d))?")
_CLOCK = re.compile(r"(\d{1,2})[:.h](\d\d)(?::\d\d)?(?:\s*([ap])\.?\s?m\b\.?)?", re.IGNORECASE)
_ASIAN = re.compile(r"(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})")
_EASTERN = re.compile(r"\bET\b")


def _plain(text: str) -> str:
    """Lower case without accents, special spaces and minus signs."""
    spread = unicodedata.normalize("NFKD", text.replace("\u2212", "-").replace("\u2013", "-"))
    kept = "".join(letter for letter in spread if not unicodedata.combining(letter) or letter == "\u0306")
    return unicodedata.normalize("NFC", kept)


def _month(word: str) -> int | None:
    """The month that a word begins like; the longest beginning decides."""
    lowered = _plain(word).lower()
    fits = [
        (len(_plain(stem)), number)
        for number, stems in enumerate(_MONTHS, start=1)
        for stem in stems.split()
        if lowered.startswith(_plain(stem))
    ]
    return max(fits)[1] if fits else None


def _day(text: str) -> date | None:
    """The date of an as-of line."""
    asian = _ASIAN.search(text)
    if asian:
        return date(*(int(part) for part in asian.groups()))
    iso = re.search(r"(\d{4})-(\d\d)-(\d\d)", text)
    if iso:
        return date(*(int(part) for part in iso.groups()))
    year = re.search(r"\b(\d{4})\b", text)
    months = [found for found in map(_month, re.findall(r"[^\W\d_]{3,}", text)) if found is not None]
    number = re.search(r"(?<![\d:.])(\d{1,2})(?![\d:h]|\.\d)", text)
    if year is None or not months or number is None:
        return None
    return date(int(year.group(1)), months[0], int(number.group(1)))


def stated_moment(line: str) -> datetime:
    """The moment of an as-of line on New York's clock, without a zone; raises ValueError naming the line.

    Only what stands before the first bid is read.
    """
    text = _plain(re.split(r"\bBid\b|\bДо\b", re.sub(r"^\W*Date:\s*", "", line.strip()))[0])
    day, clock = _day(text), _CLOCK.search(text)
    if day is None or clock is None:
        raise ValueError(
            f"as-of line {line[:80]!r}; expected a day, a month by name and a time, as browsers write them"
        )
    hour, minute = int(clock.group(1)), int(clock.group(2))
    if clock.group(3):
        hour = hour % 12 + (12 if clock.group(3).lower() == "p" else 0)
    elif re.search("下午|오후|午後", text):
        hour = hour % 12 + 12
    written = datetime.combine(day, time(hour, minute))
    shifted = _SHIFTED.search(text)
    if shifted:
        hours = float(shifted.group(2)) + float(shifted.group(3) or 0) / 60.0
        offset = hours if shifted.group(1) == "+" else -hours
    elif _EASTERN.search(text):
        return written
    else:
        zones = [word for word in re.findall(r"\b[A-Z]{3,4}\b", text) if word in _ZONES]
        if not zones:
            raise ValueError(f"as-of line {line[:80]!r}; expected a zone, such as EST, GMT-4 or UTC+1")
        offset = _ZONES[zones[-1]]
    there = written.replace(tzinfo=timezone(timedelta(hours=offset)))
    return there.astimezone(NEW_YORK).replace(tzinfo=None)


def moment_of_quotes(stated: datetime) -> tuple[datetime, bool]:
    """When quotes shown at a moment were made, and whether they may be evening ones.

    Within a session and its quarter of an hour after the close: then. At other times: the close before. Index options
    trade again from 20:15 of a day that has a session on the next: what a table shows then is no quote of the close.
    """
    days = calendar()
    day = stated.date()
    minute = stated.hour * 60 + stated.minute
    if days.is_open(day) and OPEN_MINUTE <= minute < OPEN_MINUTE + days.session_minutes(day):
        return stated, False
    last = day if days.is_open(day) and minute >= OPEN_MINUTE else days.on_or_before(day - timedelta(days=1))
    close = OPEN_MINUTE + days.session_minutes(last)
    following = day + timedelta(days=1) if minute >= 20 * 60 + 15 else day
    night = minute >= 20 * 60 + 15 or minute < OPEN_MINUTE
    evening = night and days.is_open(following) and not (day.weekday() == 4 and minute >= 20 * 60)
    return datetime.combine(last, time(close // 60, close % 60)), evening
