"""`edge doctor` about Python, numpy and the packages: what does not fit, crashes or hangs does so in a child."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge.doctor import imports, numpy, python, runtimes
from edge.doctor.imports import try_import
from edge.doctor.python import Interpreter
from tests.doctoring import case, levels, package, told

NUMPY_1 = """\
import sys
class Interpreter:
    def __init__(self, model_path):
        sys.stderr.write('''
A module that was compiled using NumPy 1.x cannot be run in
NumPy 2.4.6 as it may crash.
AttributeError: _ARRAY_API not found
ImportError: numpy.core.multiarray failed to import
''')
        raise SystemError("returned a result with an exception set")
"""
"""What tflite-runtime 2.14 does beside numpy 2.4: it can be imported, and fails in use."""


def test_a_module_that_works() -> None:
    import msgspec

    assert try_import("msgspec") == imports.Imported(True, msgspec.__version__)
    assert try_import("no_such_module.at_all") == imports.Imported(False)


@pytest.mark.parametrize(
    ("code", "why", "other_numpy"),
    [
        (f"{NUMPY_1}Interpreter('')", "ImportError: numpy.core.multiarray failed to import", True),
        ("raise ValueError('numpy.dtype size changed, may indicate')", "ValueError: numpy.dtype size changed", True),
        ("import sys; sys.stderr.write('compiled using NumPy 1.x')", "it was compiled for another numpy", True),
        ("import os; os.abort()", "its import ends with SIGABRT", False),
        ("import os; os._exit(3)", "exit code 3", False),
        ("1 / 0", "ZeroDivisionError: division by zero", False),
        ("import time; time.sleep(9)", "its import does not end within 0.5 s", False),
    ],
)
def test_a_module_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str, other_numpy: bool
) -> None:
    package(tmp_path, "broken_module.py", code, monkeypatch)
    if "sleep" in code:
        monkeypatch.setattr(imports, "IMPORT_S", 0.5)
    found = try_import("broken_module")
    assert found.installed
    assert (found.why or "").startswith(why)
    assert found.other_numpy is other_numpy


def test_compiled_modules_of_another_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "picamera2.py", "raise ValueError('numpy.dtype size changed')", monkeypatch)
    package(tmp_path, "tflite_runtime/interpreter.py", NUMPY_1, monkeypatch)
    package(tmp_path, "ai_edge_litert/interpreter.py", "1 / 0", monkeypatch)
    examined = case(Path("/"), None, "runtime.name=tflite")
    found = list(numpy.examine(examined))
    assert levels(found) == ["warning", "warning", "ok"]
    assert "tflite-runtime was compiled for another numpy" in told(found, "warning")
    assert "`pip install 'numpy<2'`" in told(found, "warning")
    assert "picamera2 was compiled for another numpy" in told(found, "warning")
    assert "the system's numpy" in told(found, "warning")
    assert "OpenCV" in told(found, "ok")
    found = list(runtimes.examine(examined))
    assert levels(found) == ["blocks", "warning", "blocks"]
    assert "no TensorFlow Lite runtime can be used" in told(found, "blocks")
    assert "tflite-runtime is installed but cannot be used" in told(found, "blocks")
    assert "ZeroDivisionError" in told(found, "warning")


def test_the_runtime_that_is_asked_for_must_be_there(runtime_name: str) -> None:
    examined = case(Path("/"), None, f"runtime.name={runtime_name}")
    assert "ok" in levels(runtimes.examine(examined))
    assert "blocks" not in levels(runtimes.examine(examined))


def test_pypis_pycoral_is_not_googles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "pycoral/atlas.py", "", monkeypatch)
    (tmp_path / "packages/pycoral/__init__.py").write_text("import os; os.abort()")  # it is not imported to be known
    assert "`pip uninstall pycoral`" in told(runtimes.examine(case()), "warning")
    package(tmp_path, "pycoral/utils/edgetpu.py", "", monkeypatch)
    package(tmp_path, "pycoral/pybind/_pywrap_coral.py", "", monkeypatch)
    assert not told(runtimes.examine(case()), "warning")
    assert "Google's pycoral" in told(runtimes.examine(case()), "ok")


def test_pythons_that_there_are_no_packages_for() -> None:
    assert levels(python.judge(Interpreter((3, 13, 1), 64, None))) == ["ok"]
    assert "this is Python 3.14.0" in told(python.judge(Interpreter((3, 14, 0), 64, True)), "blocks")
    assert "this is Python 3.8.10" in told(python.judge(Interpreter((3, 8, 10), 64, True)), "blocks")
    found = list(python.judge(Interpreter((3, 11, 2), 32, False)))
    assert "64-bit system" in told(found, "blocks")
    assert "does not see the system's packages" in told(found, "ok")


def test_this_python() -> None:
    found = python.this()
    assert found.version == sys.version_info[:3]
    assert found.bits == 64
