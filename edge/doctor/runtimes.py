"""Which TensorFlow Lite runtimes are here, and whether the one that is asked for is."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Optional

from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, ok, warning
from edge.extras import how_to_install

MODULES = {"litert": "ai_edge_litert.interpreter", "tflite": "tflite_runtime.interpreter"}
"""By the runtime's name, in the order in which `auto` takes them."""
_PACKAGES = {"litert": "ai-edge-litert", "tflite": "tflite-runtime"}
_FIXES = {
    "litert": "`pip install ai-edge-litert` (64-bit x86 or ARM, Python 3.9 to 3.13).",
    "tflite": f"{how_to_install('tflite')} (Python 3.11 and older, numpy below 2).",
}


def examine(case: Case) -> Iterator[Finding]:
    """The runtimes."""
    settings = case.config.runtime
    wanted = {name for name in (settings.name, settings.interpreter) if name in MODULES}
    usable = working(case)
    if usable is None:
        yield blocks("no TensorFlow Lite runtime can be used.", _FIXES["litert"])
    for name, module in MODULES.items():
        found = case.imports.of(module)
        package = _PACKAGES[name]
        if found.installed and not found.why:
            yield ok(f"{package} {found.version or ''}".rstrip() + (", which auto takes." if name == usable else "."))
        elif found.installed:
            level = blocks if name in wanted else warning
            yield level(f"{package} is installed but cannot be used ({found.why}).", _FIXES[name])
        elif name in wanted:
            yield blocks(f"{package} is not installed, and the runtime {name} is asked for.", _FIXES[name])
    yield from _pycoral()


def working(case: Case) -> Optional[str]:
    """The runtime that `auto` takes on the CPU; None where none works."""
    return next((name for name, module in MODULES.items() if works(case, module)), None)


def works(case: Case, module: str) -> bool:
    """Whether a module of `MODULES` can be used."""
    found = case.imports.of(module)
    return found.installed and not found.why


def _pycoral() -> Iterator[Finding]:
    """Google's is used where it is; PyPI has another project of that name."""
    found = importlib.util.find_spec("pycoral")
    if found is None:
        return
    # Looked for, not imported: importing the other project runs it.
    if any((Path(place) / "utils" / "edgetpu.py").is_file() for place in found.submodule_search_locations or ()):
        yield ok("Google's pycoral is here, which lists the Edge TPUs.")
        return
    try:
        told = f" {version('pycoral')}"
    except PackageNotFoundError:
        told = ""
    yield warning(
        f"the package pycoral{told} is not Google's but PyPI's, an unrelated project.",
        "`pip uninstall pycoral`; nothing of it is needed here, and Google's comes from Coral's apt repository.",
    )
