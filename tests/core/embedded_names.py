"""The gateway's modules on the embedded engine's names, for what no run shows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import ROOT


@contextmanager
def on_embedded_names(monkeypatch: pytest.MonkeyPatch, module: str) -> Iterator[Any]:
    """A module of the gateway, imported anew where ``AlgorithmImports`` is the embedded engine's."""

    def held() -> list[str]:
        return [name for name in sys.modules if name == "AlgorithmImports" or name.startswith("core.lean_gateway")]

    monkeypatch.syspath_prepend(ROOT / "simulation" / "embedded")
    before = {name: sys.modules.pop(name) for name in held()}
    try:
        yield importlib.import_module(module)
    finally:
        for name in held():
            del sys.modules[name]
        sys.modules.update(before)
