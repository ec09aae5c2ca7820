"""The direction of imports, and how little a start needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Who may import whom, lowest first: a module imports only from layers below its own.
LAYERS = [
    {"edge", "edge.errors", "edge.expectations", "edge.extras", "edge.notify", "edge.resources", "edge.signals"},
    {"edge.records", "edge.schedule"},
    {"edge.images", "edge.labels", "edge.motion", "edge.privacy", "edge.stats", "edge.tensors", "edge.utc"},
    {"edge.cameras", "edge.device", "edge.histogram", "edge.runtimes"},
    {"edge.journal", "edge.model", "edge.sinks"},
    {"edge.control", "edge.truth"},
    {"edge.overview", "edge.report", "edge.review"},
    {"edge.outlets"},
    {"edge.web"},
    {"edge.classifier", "edge.config"},
    {"edge.loop", "edge.measuring", "edge.recording"},
    {"edge.doctor", "edge.service"},
    {"edge.commands"},
    {"edge.cli"},
    {"edge.__main__"},
]
OPTIONAL = (
    *("tensorflow", "keras", "ai_edge_litert", "tflite_runtime", "picamera2", "pycoral", "aiohttp", "paho"),
    *("matplotlib", "jinja2", "pyarrow", "prometheus_client"),
)
FOR_DEPLOY = {
    "edge",
    "edge.classifier",
    "edge.errors",
    "edge.images",
    "edge.labels",
    "edge.model",
    "edge.records",
    "edge.runtimes",
    "edge.stats",
    "edge.tensors",
}


def package_of(name: str) -> str:
    """A module of a package in edge, such as a camera, counts as the package."""
    return ".".join(name.split(".")[:2]) if name.startswith("edge.") else name


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(path: Path) -> set[str]:
    """Names of the project's modules that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            names = [f"{base}.{alias.name}" for alias in node.names]
            found |= {name if is_module(name) else base for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in ("edge", "deploy")}


def modules(package: str) -> dict[str, Path]:
    paths = (ROOT / package).rglob("*.py")
    return {
        str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__"): path for path in paths
    }


def test_imports_go_downward_only() -> None:
    layer = {name: number for number, names in enumerate(LAYERS) for name in names}
    for name, path in modules("edge").items():
        own = package_of(name)
        assert own in layer, f"{name} has no layer: put it into LAYERS"
        for imported in imports(path):
            other = package_of(imported)
            assert other == own or layer[other] < layer[own] or name == "edge", f"{name} imports {imported}"


def test_cameras_and_runtimes_do_not_know_each_other() -> None:
    allowed = {"edge.errors", "edge.expectations", "edge.extras", "edge.images", "edge.privacy", "edge.records"}
    for name, path in modules("edge").items():
        if package_of(name) in ("edge.cameras", "edge.runtimes"):
            outside = {other for other in imports(path) if package_of(other) != package_of(name)}
            assert outside <= allowed, f"{name} imports {outside - allowed}"


def test_the_device_never_needs_the_converter() -> None:
    for name, path in modules("edge").items():
        assert not {other for other in imports(path) if other.startswith("deploy")}, name
    for name, path in modules("deploy").items():
        outside = {package_of(other) for other in imports(path) if other.startswith("edge")}
        assert outside <= FOR_DEPLOY, f"{name} imports {outside - FOR_DEPLOY}"


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")


def test_every_module_imports_without_what_is_optional() -> None:
    names = sorted(name for name in modules("edge") if name != "edge.__main__")
    code = f"""
import importlib, sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None
for name in {names!r}:
    importlib.import_module(name)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("entry", "arguments"),
    [
        ("edge.cli", ["--help"]),
        ("edge.cli", ["--version"]),
        ("edge.cli", ["run", "--help"]),
        ("deploy.cli", ["--help"]),
    ],
)
def test_help_and_version_need_nothing_heavy(entry: str, arguments: list[str]) -> None:
    heavy = ("numpy", "cv2", "yaml", "msgspec", "ai_edge_litert", "tflite_runtime", "tensorflow", "keras")
    code = f"""
import sys
for name in {heavy!r}:
    sys.modules[name] = None
sys.argv = ["edge", *{arguments!r}]
from {entry} import main
main()
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout
