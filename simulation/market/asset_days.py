"""One underlying on one day: what contracts on it are valued from, at each minute or at the close alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, auto

import numpy as np

from simulation.market.calendar import OPEN_MINUTE, FloatArray, Profile, VarianceClock, calendar
from simulation.market.days import MinutePath, VolatilityLaw
from simulation.market.surface import SmileLaw, SmileShape, SurfaceDay, shape_of, steepness

_EVERY, _FIRST, _LAST = slice(None), slice(0, 1), slice(-1, None)


class Kind(Enum):
    """What the underlying is, which decides its forward and the style of its options."""

    INDEX = auto()
    SHARE = auto()
    FUTURE = auto()


@dataclass(frozen=True)
class AssetSpec:
    """The laws of one underlying."""

    ticker: str
    kind: Kind
    profile: Profile
    smile: SmileLaw = field(default_factory=SmileLaw)
    volatility_law: VolatilityLaw = field(default_factory=VolatilityLaw)
    tick: float = 0.01


@dataclass(frozen=True)
class Carry:
    """What holding the underlying costs: rate and yield a year (continuous), and cash dividends by ex-date ordinal.

    ``terms``: years and the rates that forwards to them grow by, where those differ from ``rate``.
    """

    rate: float
    dividend_yield: float = 0.0
    dividends: tuple[tuple[int, float], ...] = ()
    terms: tuple[tuple[float, float], ...] = ()

    def growth(self, years: FloatArray) -> FloatArray | float:
        """The rate that a forward to each term grows by."""
        if not self.terms:
            return self.rate
        known, rates = (np.array(column) for column in zip(*self.terms, strict=True))
        return np.asarray(np.interp(years, known, rates))


class AssetDay:
    """One underlying on one day: minute paths, surface and forwards, each worked out when first asked for."""

    def __init__(
        self,
        spec: AssetSpec,
        day: date,
        spot: Callable[[], MinutePath],
        surface: Callable[[], SurfaceDay],
        carry: Callable[[], Carry],
        closing: Callable[[], SurfaceDay] | None = None,
        ends: tuple[Callable[[], float], Callable[[], float]] | None = None,
    ) -> None:
        """``ends`` tells the first and the last price without the minutes between them."""
        self.spec = spec
        self.day = day
        self.minutes = calendar().session_minutes(day)
        self._make_spot = spot
        self._spot: MinutePath | None = None
        self._ends = ends
        self._close: float | None = None
        self._make_carry = carry
        self._carry: Carry | None = None
        self.clock = VarianceClock(spec.profile)
        self._make_surface = surface
        self._surface: SurfaceDay | None = None
        self._make_closing = closing
        self._closing: SurfaceDay | None = None
        self._opening: SurfaceDay | None = None
        self._opens: dict[int, tuple[float, float]] = {}
        self._closes: dict[tuple[int, bool], tuple[float, float, float]] = {}
        self._kept: dict[tuple[str, int, bool], FloatArray] = {}
        self._shapes: dict[tuple[int, bool], SmileShape] = {}
        self.notes: dict[str, FloatArray] = {}

    @property
    def carry(self) -> Carry:
        """What holding the underlying costs on the day."""
        if self._carry is None:
            self._carry = self._make_carry()
        return self._carry

    @property
    def remaining(self) -> FloatArray:
        """Years of variance time from the open and each minute's end to the day's close."""
        return self.clock.remaining_today(self.day)

    @property
    def spot(self) -> MinutePath:
        """Minutes of the price."""
        if self._spot is None:
            self._spot = self._make_spot()
        return self._spot

    @property
    def opened(self) -> float:
        """The first price, in points."""
        return self.spot.points.item(0) if self._ends is None else self._ends[0]()

    @property
    def closed(self) -> float:
        """The last price, in points."""
        if self._close is None:
            self._close = self.spot.points.item(-1) if self._ends is None else self._ends[1]()
        return self._close

    @property
    def surface(self) -> SurfaceDay:
        """The implied surface at the open and at each minute's end."""
        if self._surface is None:
            self._surface = self._make_surface()
        return self._surface

    @property
    def closing(self) -> SurfaceDay:
        """The surface at the close alone, made without that of the minutes before where nobody asked for it."""
        if self._closing is None:
            make = self._make_closing
            self._closing = self.surface.at(self.minutes) if make is None else make()
        return self._closing

    def at_open(self, expiry: date) -> tuple[float, float]:
        """The first of ``theta`` and ``years``, to the bit, without those of the minutes after; kept for the day."""
        key = expiry.toordinal()
        known = self._opens.get(key)
        if known is None:
            if self._opening is None:
                self._opening = self.surface.at(0)
            left = np.maximum(self.remaining[_FIRST] + self.clock.after_today(self.day, expiry, morning=False), 0.0)
            theta, years = self._opening.theta(left), self._years(expiry, False, _FIRST)
            known = self._opens[key] = (theta.item(0), years.item(0))
        return known

    def at_close(self, expiry: date, *, morning: bool = False) -> tuple[float, float, float]:
        """The last of ``forward``, ``theta`` and ``years``, without those of the minutes before; kept for the day.

        To rounding: a chain file's prices and volatilities are rounded a million times more coarsely.
        """
        key = (expiry.toordinal(), morning)
        known = self._closes.get(key)
        if known is None:
            forward, left, years = self.terms_at_close(expiry, morning=morning)
            known = self._closes[key] = (forward, self.closing.theta(np.array([left])).item(0), years)
        return known

    def terms_at_close(self, expiry: date, *, morning: bool = False) -> tuple[float, float, float]:
        """Forward, years of variance time and calendar years at the close, without the minutes before."""
        left = max(self.clock.after_today(self.day, expiry, morning=morning), 0.0)
        years = self._years(expiry, morning, _LAST)
        forward = self.closed
        if self.spec.kind is not Kind.FUTURE:
            forward = self._forward_of(np.array([forward]), years, expiry).item(0)
        return forward, left, years.item(0)

    def years(self, expiry: date, *, morning: bool = False) -> FloatArray:
        """Calendar years from the open and from each minute's end to the settlement, never negative.

        Kept for the day.
        """
        return self._keep("years", expiry, morning, lambda: self._years(expiry, morning))

    def _years(self, expiry: date, morning: bool, rows: slice = _EVERY) -> FloatArray:
        settle = OPEN_MINUTE if morning else OPEN_MINUTE + calendar().session_minutes(calendar().on_or_before(expiry))
        now = OPEN_MINUTE + np.arange(self.minutes + 1)[rows]
        return np.asarray(np.maximum((expiry - self.day).days * 1440.0 + settle - now, 0.0) / (365.0 * 1440.0))

    def variance_years(self, expiry: date, *, morning: bool = False) -> FloatArray:
        """Variance time to the settlement, in years."""
        after = self.clock.after_today(self.day, expiry, morning=morning)
        return np.asarray(np.maximum(self.remaining + after, 0.0))

    def theta(self, expiry: date, *, morning: bool = False) -> FloatArray:
        """At-the-money total variance to ``expiry``, kept for the day: every strike of an expiry shares it."""
        return self._keep(
            "theta", expiry, morning, lambda: self.surface.theta(self.variance_years(expiry, morning=morning))
        )

    def shape(self, expiry: date, *, morning: bool = False) -> SmileShape:
        """The smile of ``expiry`` at the open and at each minute's end, kept for the day."""
        key = (expiry.toordinal(), morning)
        known = self._shapes.get(key)
        if known is None:
            theta, phi = self.theta(expiry, morning=morning), self.steepness(expiry, morning=morning)
            known = self._shapes[key] = shape_of(theta, self.surface.law.rho, phi)
        return known

    def steepness(self, expiry: date, *, morning: bool = False) -> FloatArray:
        """SSVI's phi for ``expiry`` at the open and at each minute's end, kept for the day."""
        return self._keep(
            "phi", expiry, morning, lambda: steepness(self.theta(expiry, morning=morning), self.surface.eta)
        )

    def forward(self, expiry: date, *, morning: bool = False) -> FloatArray:
        """Forward price of the underlying for ``expiry`` at the open and at each minute's end, in points.

        Kept for the day.
        """
        if self.spec.kind is Kind.FUTURE:
            return self.spot.points
        return self._keep(
            "forward", expiry, morning, lambda: self._forward_of(self.spot.points, self._years(expiry, morning), expiry)
        )

    def _keep(self, name: str, expiry: date, morning: bool, make: Callable[[], FloatArray]) -> FloatArray:
        key = (name, expiry.toordinal(), morning)
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = make()
        return known

    def _forward_of(self, points: FloatArray, years: FloatArray, expiry: date) -> FloatArray:
        grown = np.exp((self.carry.growth(years) - self.carry.dividend_yield) * years)
        paid = sum(
            amount * np.exp(-self.carry.rate * (ordinal - self.day.toordinal()) / 365.0)
            for ordinal, amount in self.carry.dividends
            if self.day.toordinal() < ordinal <= expiry.toordinal()
        )
        return np.asarray(points * (1.0 - paid / self.opened if paid else 1.0) * grown)
