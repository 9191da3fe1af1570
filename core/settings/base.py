"""Typed settings: the mechanism. The fields and their defaults are in ``core/settings/fields.py``.

Values arrive as text (LEAN's parameters, the command line) under dotted keys such as ``friday_0dte.min_vix``. An
unknown key, a value out of its range or two values that contradict each other are refused together, each with its key,
its value and what is accepted. Secrets are not settings and are refused without repeating their value.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretBytes, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

PRIVATE: dict[str, JsonValue] = {"private": True}
"""Marks a setting whose value is nobody else's business: it is printed as set or not set, and in no error."""
SECRET = re.compile(r"(secret|password|passwd|token|api[_-]?key|credential|private)", re.IGNORECASE)


class SettingsError(ValueError):
    """Everything that is wrong with the settings given, one line each in ``problems``."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class SettingsGroup(BaseModel):
    """Settings of one room or strategy: frozen, unknown names refused, defaults checked like given values."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        defer_build=True,  # the root builds them all at once; start-up is counted in milliseconds
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a field made for a secret, and a field without a default."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if field.annotation in (SecretStr, SecretBytes) or SECRET.search(name):
                raise TypeError(f"{cls.__name__}.{name}: a secret is not a setting")
            if field.is_required():
                raise TypeError(f"{cls.__name__}.{name}: has no default; every setting has one")


class SettingsRoot(SettingsGroup):
    """The whole of the settings: groups, and nothing else, as fields."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Defaults with ``parameters`` (dotted key to text) laid over them; raises ``SettingsError``."""
        known = dict(walk_fields(cls))
        problems: list[str] = []
        tree: dict[str, Any] = {}
        for key, text in parameters.items():
            field = known.get(key)
            if field is None:
                problems.append(_unknown(key, text, known))
                continue
            *groups, name = key.split(".")
            branch = tree
            for group in groups:
                branch = branch.setdefault(group, {})
            try:
                branch[name] = _parse(text, field)
            except ValueError as error:
                problems.append(f"{key}: {text!r}; {error}; expected {accepted(field)}")
        try:
            settings = cls.model_validate(tree)
        except ValidationError as error:
            problems.extend(_problems(error, known, parameters))
            raise SettingsError(problems) from None  # pydantic's own text names no dotted key and no range
        if problems:
            raise SettingsError(problems)
        return settings

    def parameters(self) -> dict[str, str]:
        """Every setting as ``from_parameters`` would take it: dotted key to text."""
        return {key: _text(value) for key, value in walk_values(self)}

    def describe(self) -> str:
        """Every setting below its group's meaning: key, value, the default where it differs, and what is accepted."""
        defaults = dict(walk_values(type(self)()))
        lines: list[str] = []
        for group, model in walk_groups(type(self)):
            meaning = " ".join((model.__doc__ or "").split("\n\n")[0].split())
            lines += ["", f"# {group}: {meaning}"] if group else [f"# {meaning}"]
            for name, field in model.model_fields.items():
                key = f"{group}.{name}" if group else name
                if key in defaults:
                    lines.append(_line(key, _value_at(self, key), defaults[key], field))
        return "\n".join(lines)

    def verify(self) -> tuple[str, ...]:
        """Settings were checked when they were made."""
        return ()


def walk_groups(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Dotted key and class of every group, the root first under an empty key."""
    yield prefix, model
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from walk_groups(annotation, f"{prefix}.{name}" if prefix else name)


def walk_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted key and field of every setting below ``model``, groups opened."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from walk_fields(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def walk_values(group: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every setting, in the order of ``walk_fields``."""
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, BaseModel):
            yield from walk_values(value, f"{prefix}{name}.")
        elif is_private(type(group).model_fields[name]):
            yield f"{prefix}{name}", "(set)" if value else ""
        else:
            yield f"{prefix}{name}", value


def accepted(field: FieldInfo) -> str:
    """What a setting takes, in words: its type, its range, or its choices."""
    bounds = {"ge": "at least", "gt": "over", "le": "at most", "lt": "under", "multiple_of": "a multiple of"}
    words = [
        f"{phrase} {getattr(rule, name):g}"
        for name, phrase in bounds.items()
        for rule in field.metadata
        if getattr(rule, name, None) is not None
    ]
    lengths = {"min_length": "at least {} items", "max_length": "at most {} items"}
    words += [
        phrase.format(getattr(rule, name))
        for name, phrase in lengths.items()
        for rule in field.metadata
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([_type_name(field.annotation), *words])


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(str(member.value) for member in annotation)
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_type_name(part) for part in get_args(annotation))
    origin = get_origin(annotation)
    if str(origin) == "typing.Literal":
        return "one of " + ", ".join(str(choice) for choice in get_args(annotation))
    if origin in (tuple, list, set, frozenset):
        inner = next((_type_name(part) for part in get_args(annotation) if part is not Ellipsis), "value")
        return f"list of {inner}, separated by commas"
    if origin is dict or origin is Mapping:
        return "pairs name:value, separated by commas"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _origins(field: FieldInfo) -> set[Any]:
    parts = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else (field.annotation,)
    return {get_origin(part) or part for part in parts}


def _parse(text: str, field: FieldInfo) -> Any:
    """Text as pydantic takes it: lists split, pairs split, JSON read, ``none`` where it is allowed."""
    text = text.strip()
    origins = _origins(field)
    if type(None) in origins and text.lower() in ("none", "null", ""):
        return None
    if text[:1] in "[{" and text:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"is no JSON ({error.msg})") from error
    if origins & {tuple, list, set, frozenset}:
        return [part.strip() for part in text.split(",") if part.strip()]
    if origins & {dict, Mapping}:
        pairs = [part.split(":") for part in text.split(",") if part.strip()]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("is not name:value pairs")
        return {name.strip(): value.strip() for name, value in pairs}
    return text


def _unknown(key: str, text: str, known: Mapping[str, FieldInfo]) -> str:
    if SECRET.search(key):
        return f"{key}: looks like a secret; secrets are never settings; the lean command keeps them"
    members = [name for name in known if name.startswith(key + ".")]
    if members:
        return f"{key}: is a group of settings (value {text!r}); expected one of {', '.join(members[:8])}"
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not near:
        tails = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [tails[tail] for tail in difflib.get_close_matches(key.rsplit(".", 1)[-1], tails, n=1, cutoff=0.6)]
    advice = f"did you mean {near[0]} ({accepted(known[near[0]])})?" if near else "python run.py settings shows all"
    return f"{key}: unknown setting (value {text!r}); {advice}"


def _problems(error: ValidationError, known: Mapping[str, FieldInfo], parameters: Mapping[str, str]) -> Iterator[str]:
    for item in error.errors():
        parts = [str(part) for part in item["loc"]]
        key = next((".".join(parts[:end]) for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in known), None)
        message = item["msg"].removeprefix("Value error, ")
        if key is None:
            place = ".".join(parts)
            yield message if place in message else f"{place}: {message}"
        else:
            given = "(not shown)" if is_private(known[key]) else parameters.get(key, _text(item["input"]))
            yield f"{key}: {given!r}; {message[:1].lower()}{message[1:]}; expected {accepted(known[key])}"


def _value_at(settings: BaseModel, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def is_private(field: FieldInfo) -> bool:
    """Whether a setting's value is never shown."""
    return field.json_schema_extra == PRIVATE


def _line(key: str, value: Any, default: Any, field: FieldInfo) -> str:
    if is_private(field):
        return f"{key} = {'(set)' if value else '(not set)'} [{accepted(field)}]"
    changed = "" if value == default else f" (default {_text(default)})"
    meaning = f" - {field.description}" if field.description else ""
    return f"{key} = {_text(value)}{changed} [{accepted(field)}]{meaning}".replace("\n", " ")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, Mapping):
        return ",".join(f"{_text(name)}:{_text(item)}" for name, item in value.items())
    if isinstance(value, tuple | list | set | frozenset):
        return ",".join(_text(item) for item in value)
    return str(value)


class NoticeSettings(SettingsGroup):
    """Messages to a person (live only). Addresses are never logged, printed or written into results.

    ``per_hour`` is what the account's tier sends an hour (QuantConnect, September 2026: Quant Researcher 20, Team 60,
    Trading Firm 240, Institution 3,600); ``kept_for_emergencies`` of them go to emergencies alone.
    """

    per_hour: int = Field(20, ge=1, le=3600)
    kept_for_emergencies: int = Field(6, ge=0)
    heartbeat_minutes: int = Field(15, ge=5, le=390)
    """Minutes of a session between two signs of life with what is held."""
    repeat_after_minutes: int = Field(60, ge=1)
    """Minutes for which the same words are not told again."""
    log_lines_a_day: int = Field(300, ge=20)
    """Lines a day into LEAN's log, of which the cloud keeps 100,000 a live project."""
    email: str = Field("", repr=False, json_schema_extra=PRIVATE)
    web: str = Field("", repr=False, json_schema_extra=PRIVATE)
    telegram: str = Field("", repr=False, json_schema_extra=PRIVATE)
    phone: str = Field("", repr=False, json_schema_extra=PRIVATE)

    @model_validator(mode="after")
    def _leaves_some(self) -> Self:
        if self.kept_for_emergencies >= self.per_hour:
            raise ValueError(
                f"notices.kept_for_emergencies: {self.kept_for_emergencies} of {self.per_hour} an hour; expected fewer "
                "than notices.per_hour"
            )
        return self
