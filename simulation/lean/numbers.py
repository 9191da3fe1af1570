"""Numbers as LEAN's decimals hold and print them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MONEY_DIGITS = 8
"""Digits kept after the point wherever LEAN's decimals are exact and doubles are not."""


def clean(value: float) -> float:
    """The double nearest to the decimal number that LEAN would hold; drops the noise of binary arithmetic."""
    return round(float(value), MONEY_DIGITS)


def rounded(values: Floats, digits: int = MONEY_DIGITS) -> Floats:
    """`round` of each value, to the last bit, all at once.

    A scaled value is off by less than a thirtieth of a unit while it is below 2 to the 48th. One that lies well on one
    side of a half has its whole number for certain; the few that do not are rounded one by one.
    """
    scale = 10.0**digits
    scaled = values * scale
    whole = np.rint(scaled)
    found: Floats = whole / scale
    certain = (np.abs(scaled - whole) < 0.4) & (np.abs(scaled) < 2.0**48)
    for place in np.flatnonzero(~certain).tolist():
        found[place] = round(values.item(place), digits)
    return found


def price_of(value: float) -> float:
    """A price as LEAN holds it: pythonnet keeps 15 significant digits of a float that becomes a decimal."""
    return float(f"{value:.15g}")


def decimal_text(value: float) -> str:
    """A number as LEAN prints a normalised decimal: no exponent, no trailing zeros, no sign on zero."""
    text = f"{clean(value):.{MONEY_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def exact(value: float) -> Decimal:
    """The decimal number that a double stands for."""
    return Decimal(decimal_text(value))


def currency_sign(currency: str) -> str:
    """What LEAN prints before an amount: the sign of a currency it knows, nothing for none."""
    return "$" if currency == "USD" else currency


def smart_text(value: float) -> str:
    """A price as LEAN's messages round it: 4 places above 1000, else 7 digits (Extensions.SmartRounding)."""
    return decimal_text(round(value, 4) if value > 1000 else float(f"{value:.7g}"))
