"""LEAN's two spellings of every name.

The engine implements each member once, in snake_case. Code written for LEAN may also use PascalCase
(``algorithm.SetCash``, ``Resolution.Minute``), and an algorithm may override a callback under either name.
An unknown member raises AttributeError with the nearest known name.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable
from enum import EnumMeta, IntEnum
from functools import lru_cache, wraps
from typing import Any, TypeVar

_WORD = re.compile(r"(.)([A-Z][a-z]+)")
_EDGE = re.compile(r"([a-z0-9])([A-Z])")


@lru_cache(maxsize=8192)
def snake_case(name: str) -> str:
    """LEAN's Python spelling of a C# member name: ``AddIndexOption`` -> ``add_index_option``."""
    return _EDGE.sub(r"\1_\2", _WORD.sub(r"\1_\2", name)).lower()


@lru_cache(maxsize=8192)
def pascal_case(name: str) -> str:
    """The C# spelling of a snake_case or UPPER_SNAKE name: ``set_cash`` -> ``SetCash``."""
    return "".join(part[:1].upper() + part[1:].lower() for part in name.split("_"))


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


class UnknownMemberError(AttributeError):
    """A member that this engine does not have. The message is built only when it is read: ``hasattr`` stays cheap."""

    def __init__(self, owner: type, member: str) -> None:
        super().__init__(member)
        self.owner = owner
        self.member = member

    def __str__(self) -> str:
        # Of an enum only the members: it also has all that an int can do.
        known = [name for name in getattr(self.owner, "__members__", dir(self.owner)) if not name.startswith("_")]
        wanted = snake_case(self.member)
        nearest = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        nearest = nearest or difflib.get_close_matches(wanted.upper(), known, n=1, cutoff=0.5)
        hint = f"; the nearest known name is '{nearest[0]}'" if nearest else ""
        return (
            f"'{self.owner.__name__}' has no member '{self.member}' in the embedded engine{hint}. "
            "The real LEAN engine may have it."
        )


def _instance_values(instance: object) -> dict[str, Any]:
    try:
        values: dict[str, Any] = object.__getattribute__(instance, "__dict__")
    except AttributeError:  # a class with slots has none
        return {}
    return values


def _looks_pascal(name: str) -> bool:
    return name[:1].isupper() and not name.isupper()


class NamedMeta(type):
    """Gives static members (``Symbol.Create``, ``Futures.Indices``) their PascalCase spelling."""

    def __getattr__(cls, name: str) -> Any:
        if not name.startswith("_"):
            snake = snake_case(name)
            for candidate in (snake, snake.upper(), name.lower()):
                if candidate == name:
                    continue
                for base in cls.__mro__:
                    if candidate in base.__dict__:
                        return getattr(cls, candidate)
            # C# runs digits into words (SP500EMini), Python parts them (SP_500_E_MINI).
            folded = _folded(name)
            for base in cls.__mro__:
                for member in base.__dict__:
                    if member != name and not member.startswith("_") and _folded(member) == folded:
                        return getattr(cls, member)
        raise UnknownMemberError(cls, name)


class Named(metaclass=NamedMeta):
    """Base of every LEAN-facing class: PascalCase reaches the snake_case member, both to read and to override."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, member in list(cls.__dict__.items()):
            if name.startswith("_"):
                continue
            if _looks_pascal(name):
                snake = snake_case(name)
                if snake not in cls.__dict__ and any(snake in base.__dict__ for base in cls.__mro__[1:]):
                    setattr(cls, snake, member)
            elif isinstance(member, property) and member.fset is not None and pascal_case(name) not in cls.__dict__:
                # A settable property needs its PascalCase twin on the class: __getattr__ sees reads only.
                setattr(cls, pascal_case(name), member)

    def to_string(self) -> str:
        """Same as str()."""
        return str(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        own_type = type(self)
        for candidate in (name, snake_case(name)):
            if any(candidate in base.__dict__ for base in own_type.__mro__) or candidate in _instance_values(self):
                # A member that exists and raised: let its own error through.
                return object.__getattribute__(self, candidate)
        raise UnknownMemberError(own_type, name)


class LeanEnumMeta(EnumMeta):
    """Accepts PascalCase members of an enum: ``Resolution.Minute`` is ``Resolution.MINUTE``."""

    def __getattr__(cls, name: str) -> Any:
        if not name.startswith("_"):
            for candidate in (snake_case(name).upper(), name.upper()):
                member = cls._member_map_.get(candidate)
                if member is not None:
                    return member
            folded = _folded(name)
            for spelled, member in cls._member_map_.items():
                if _folded(spelled) == folded:
                    return member
        raise UnknownMemberError(cls, name)


class LeanEnum(IntEnum, metaclass=LeanEnumMeta):
    """Base of LEAN's enumerations: LEAN's integer values, ``str()`` is the member's name."""

    def __str__(self) -> str:
        return str(self._name_)

    def __format__(self, specification: str) -> str:
        if specification and specification[-1] in "dxXob":
            return int.__format__(self, specification)
        return format(str(self._name_), specification)

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    def to_string(self) -> str:
        """The C# spelling, as result files carry it: ``IndexOption``."""
        return pascal_case(str(self._name_))


_Function = TypeVar("_Function", bound=Callable[..., Any])


def signed(*overloads: str) -> Callable[[_Function], _Function]:
    """Gives a function that takes its arguments as they come the parameter names of LEAN's overloads.

    `overloads` are parameter lists, as ``"symbol, days_offset=0"``. A call with keywords is matched to the first that
    fits and handed on in order; a call without any goes straight through. Raises TypeError when none fits.
    """
    signatures = tuple(_signature(text) for text in overloads)

    def decorate(function: _Function) -> _Function:
        takes_self = next(iter(inspect.signature(function).parameters), "") == "self"

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if not named:
                return function(*arguments)
            own = arguments[:1] if takes_self else ()
            return function(*own, *_in_order(function.__name__, signatures, arguments[len(own) :], named))

        call.lean_signatures = signatures  # type: ignore[attr-defined]  # read by the parity test
        return call  # type: ignore[return-value]  # same face as the function it stands for

    return decorate


def _signature(text: str) -> inspect.Signature:
    """A parameter list as a signature; a default that is no literal is written `...`."""
    arguments = ast.parse(f"def _({text}): ...").body[0].args  # type: ignore[attr-defined]  # a function, as written
    defaults = [inspect.Parameter.empty] * (len(arguments.args) - len(arguments.defaults))
    defaults += [ast.literal_eval(value) for value in arguments.defaults]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    pairs = zip(arguments.args, defaults, strict=True)
    return inspect.Signature([inspect.Parameter(argument.arg, kind, default=default) for argument, default in pairs])


def _in_order(
    name: str, signatures: tuple[inspect.Signature, ...], arguments: tuple[Any, ...], named: dict[str, Any]
) -> list[Any]:
    for signature in signatures:
        try:
            given = signature.bind(*arguments, **named).arguments
        except TypeError:  # not this overload
            continue
        parameters = list(signature.parameters.values())
        last = max(place for place, parameter in enumerate(parameters) if parameter.name in given)
        values = [given.get(parameter.name, parameter.default) for parameter in parameters[: last + 1]]
        if all(value is not ... for value in values):
            return values
    known = " or ".join(f"{name}{signature}" for signature in signatures)
    raise TypeError(f"{name}: no overload takes these arguments ({', '.join(named)} by name); known are {known}")
