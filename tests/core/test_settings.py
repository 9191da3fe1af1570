"""Settings from text: types, ranges, near names, contradictions, secrets, and the way back to text."""

from __future__ import annotations

from datetime import date, time
from enum import StrEnum
from typing import Annotated, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, ValidationError, model_validator

from core.settings.base import SettingsError, SettingsGroup, SettingsRoot, accepted, walk_fields
from core.settings.fields import Settings


class Authority(StrEnum):
    """Whose margin decides."""

    OWN = "own"
    ENGINE = "engine"


class FridaySettings(SettingsGroup):
    """The Friday trade."""

    min_vix: Annotated[float, Field(ge=0, le=100, description="points of VIX")] = 22.0
    max_vix: Annotated[float, Field(ge=0, le=100)] = 100.0
    contracts: Annotated[tuple[int, ...], Field(min_length=4, max_length=4)] = (1, 2, 3, 4)
    entry: time = time(10, 30)
    holidays: tuple[date, ...] = ()

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.min_vix > self.max_vix:
            raise ValueError(
                f"friday.min_vix {self.min_vix:g} is over friday.max_vix {self.max_vix:g}; no VIX would do"
            )
        return self


class AccountSettings(SettingsGroup):
    """The account."""

    cash: Annotated[float, Field(gt=0)] = 50_000.0
    authority: Authority = Authority.OWN
    experienced: bool = False
    floor: float | None = None
    limits: dict[str, int] = {"SPX": 3}  # noqa: RUF012 - pydantic copies defaults


class Root(SettingsRoot):
    """A small system."""

    friday: FridaySettings = FridaySettings()
    account: AccountSettings = AccountSettings()


def problems(**parameters: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        Root.from_parameters({key.replace("__", "."): value for key, value in parameters.items()})
    return refused.value.problems


def test_text_becomes_typed_values_and_the_rest_stays_default() -> None:
    settings = Root.from_parameters(
        {
            "friday.min_vix": "15",
            "friday.contracts": "1, 1,2,2",
            "friday.entry": "10:35",
            "friday.holidays": "2024-07-04,2024-12-25",
            "account.authority": "engine",
            "account.experienced": "true",
            "account.floor": "none",
            "account.limits": "SPX:2, SPY:1",
        }
    )
    assert settings.friday == FridaySettings(
        min_vix=15.0, contracts=(1, 1, 2, 2), entry=time(10, 35), holidays=(date(2024, 7, 4), date(2024, 12, 25))
    )
    assert settings.account == AccountSettings(
        authority=Authority.ENGINE, experienced=True, floor=None, limits={"SPX": 2, "SPY": 1}
    )
    assert settings.account.cash == 50_000.0
    with pytest.raises(ValidationError, match="frozen"):
        settings.account.cash = 1.0  # type: ignore[misc]


def test_an_unknown_key_names_the_nearest_with_its_range() -> None:
    near = "did you mean friday.min_vix (number, at least 0, at most 100)?"
    assert problems(friday__min_vx="15") == (f"friday.min_vx: unknown setting (value '15'); {near}",)
    assert problems(min_vix="15") == (f"min_vix: unknown setting (value '15'); {near}",)
    assert problems(xyz="1") == ("xyz: unknown setting (value '1'); python run.py settings shows all",)
    assert problems(account="1")[0].startswith(
        "account: is a group of settings (value '1'); expected one of account.cash"
    )


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("friday__min_vix", "abc", "expected number, at least 0, at most 100"),
        ("friday__min_vix", "101", "expected number, at least 0, at most 100"),
        ("friday__min_vix", "nan", "expected number, at least 0, at most 100"),
        ("account__cash", "0", "expected number, over 0"),
        ("account__authority", "mine", "expected one of own, engine"),
        ("account__experienced", "perhaps", "expected true or false"),
        ("account__floor", "low", "expected number or none"),
        ("account__limits", "SPX", "is not name:value pairs; expected pairs name:value, separated by commas"),
        ("account__limits", "{1", "is no JSON"),
        ("friday__contracts", "1,2,3", "expected list of whole number, separated by commas, at least 4 items"),
        ("friday__entry", "half past ten", "expected time"),
    ],
)
def test_a_refused_value_names_key_value_and_what_is_accepted(key: str, value: str, told: str) -> None:
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"{key.replace('__', '.')}: {value!r}; ")
    assert told in problem


def test_contradicting_values_are_refused_with_both() -> None:
    (problem,) = problems(friday__min_vix="30", friday__max_vix="20")
    assert problem.endswith("friday.min_vix 30 is over friday.max_vix 20; no VIX would do")


def test_everything_wrong_is_told_at_once_and_a_secret_never_repeated() -> None:
    told = problems(friday__min_vix="200", account__cahs="1", broker_token="hunter2")
    assert [problem.split(":")[0] for problem in told] == ["account.cahs", "broker_token", "friday.min_vix"]
    assert not any("hunter2" in problem for problem in told)


def test_a_group_refuses_secrets_and_fields_without_a_default() -> None:
    with pytest.raises(TypeError, match="a secret is not a setting"):

        class Keys(SettingsGroup):
            """Not allowed."""

            login: SecretStr = SecretStr("x")

    with pytest.raises(TypeError, match="cash: has no default"):

        class Bare(SettingsGroup):
            """Not allowed."""

            cash: float


def test_a_description_shows_every_value_its_default_and_what_is_accepted() -> None:
    lines = Root.from_parameters({"friday.min_vix": "15"}).describe().splitlines()
    assert "# friday: The Friday trade." in lines
    assert "friday.min_vix = 15 (default 22) [number, at least 0, at most 100] - points of VIX" in lines
    assert "account.authority = own [one of own, engine]" in lines
    assert "account.floor = none [number or none]" in lines
    assert sum(" = " in line for line in lines) == len(list(walk_fields(Root)))


@given(
    st.builds(
        FridaySettings,
        min_vix=st.floats(0, 50),
        max_vix=st.floats(50, 100),
        contracts=st.tuples(*[st.integers(-5, 50)] * 4),
        holidays=st.lists(st.dates(), max_size=3).map(tuple),
    )
)
def test_settings_come_back_from_their_text(friday: FridaySettings) -> None:
    settings = Root(friday=friday)
    again = Root.from_parameters(settings.parameters())
    assert again.friday.contracts == friday.contracts
    assert again.friday.min_vix == pytest.approx(friday.min_vix, rel=1e-11)
    assert again.parameters() == settings.parameters()


def test_the_systems_own_settings_say_what_they_accept_and_come_back_from_their_text() -> None:
    settings = Settings.from_parameters({})
    assert Settings.from_parameters(settings.parameters()) == settings
    assert all(accepted(field) for _, field in walk_fields(Settings))
    assert settings.friday_0dte.min_vix == 22.0
    assert settings.verify() == ()
