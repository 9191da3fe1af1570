"""Finds the modules that the files tomking_01.py, tomking_02.py, ... hold as text, each under its own name.

QuantConnect's cloud limits how many files a project has, so `python run.py cloud` puts many modules into few files.
This module stands beside them; importing it makes `import core.bus` work. Each module is compiled from its text under
the path it has in the repository: a traceback names that file and its line. Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import CodeType, ModuleType


class BundleFinder(MetaPathFinder, InspectLoader):
    """Finds and loads modules from texts by path, as ``core/bus.py``; a package is its ``__init__.py``."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def path_of(self, name: str) -> str | None:
        """The path of a module's text; ``None`` for a module that is not here."""
        place = name.replace(".", "/")
        return next((path for path in (f"{place}/__init__.py", f"{place}.py") if path in self._texts), None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How the import system loads a module that is here; ``None`` leaves it to the finders after this one."""
        found = self.path_of(fullname)
        if found is None:
            return None
        return spec_from_loader(fullname, self, origin=found, is_package=self.is_package(fullname))

    def is_package(self, fullname: str) -> bool:
        """Whether a module is a package."""
        return (self.path_of(fullname) or "").endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        """The text of a module; tracebacks read their lines from it. Raises ImportError for one that is not here."""
        found = self.path_of(fullname)
        if found is None:
            raise ImportError(f"{fullname} is in none of the files tomking_01.py and on", name=fullname)
        return self._texts[found]

    def get_code(self, fullname: str) -> CodeType:
        """The compiled text of a module, under the path that it has in the repository."""
        return compile(self.get_source(fullname), self.path_of(fullname) or fullname, "exec", dont_inherit=True)

    def names(self) -> frozenset[str]:
        """Every module that is here."""
        dotted = (path.removesuffix(".py").replace("/", ".") for path in self._texts)
        return frozenset(name.removesuffix(".__init__") for name in dotted)


def texts_of_bundles() -> dict[str, str]:
    """Path to text of every module in tomking_01.py and on, as they lie beside this file."""
    texts: dict[str, str] = {}
    number = 1
    while find_spec(f"tomking_{number:02}") is not None:
        texts.update(import_module(f"tomking_{number:02}").MODULES)
        number += 1
    return texts


def install(finder: BundleFinder) -> None:
    """Put a finder first. Modules of its names that came from elsewhere would mix with its own: they are dropped."""
    for name in finder.names() & set(sys.modules):
        if getattr(sys.modules[name], "__loader__", None) is not finder:
            del sys.modules[name]
    sys.meta_path.insert(0, finder)


if __name__ == "tomking_finder":  # the name that it has in the folder for the cloud
    install(BundleFinder(texts_of_bundles()))
