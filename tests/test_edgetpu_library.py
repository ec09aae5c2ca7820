"""libedgetpu is asked in a process of its own; what it tells of itself is understood."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.runtimes.edgetpu import library
from edge.runtimes.edgetpu.library import Interpreter, ListedDevice, Package
from edge.runtimes.settings import RuntimeSettings
from tests.accelerators import GOOGLES
from tests.edgetpu import Standin

C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
struct edgetpu_device { int type; const char *path; };
const char *edgetpu_version(void) { return "BuildLabel(N/A), RuntimeVersion(14)"; }
#ifndef NO_LISTING
struct edgetpu_device *edgetpu_list_devices(size_t *count) {
  puts("usb /a/device/that/the/library/prints");
#ifdef HANGS
  for (;;) pause();
#endif
#ifdef ABORTS
  abort();
#endif
  static struct edgetpu_device all[] = {{0, "/dev/apex_0"}, {7, "of no known kind"}, {1, "/sys/bus/usb/devices/2-1"}};
  *count = 3;
  return all;
}
void edgetpu_free_devices(struct edgetpu_device *devices) { (void)devices; }
#endif
"""


@pytest.fixture
def build(tmp_path: Path):
    """Makes a library like libedgetpu that can only be listed."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, which builds a library to ask")

    def built(*options: str) -> str:
        made = tmp_path / "libedgetpu.so"
        command = ["gcc", "-shared", "-fPIC", *options, "-x", "c", "-o", str(made), "-"]
        subprocess.run(command, input=C, text=True, check=True)
        return str(made)

    return built


def test_devices_in_the_librarys_order(standin: Standin) -> None:
    standin.set(devices="usb,pci,usb")
    listed = library.list_devices(standin.library)
    assert listed.problem is None
    assert listed.by == "libedgetpu"
    assert [device.path for device in listed.devices if device.kind == "pci"] == ["/dev/apex_0"]
    assert [device.kind for device in listed.devices].count("usb") == 2
    assert library.parse_version(listed.version) == library.Version(runtime=14, compiler=None, stand_in=True)


def test_none_plugged_in_is_no_problem(standin: Standin) -> None:
    standin.set(devices="")
    listed = library.list_devices(standin.library)
    assert (listed.devices, listed.problem) == ((), None)


def test_what_the_library_prints_is_no_answer(build) -> None:
    listed = library.list_devices(build())
    assert listed.devices == (ListedDevice("pci", "/dev/apex_0"), ListedDevice("usb", "/sys/bus/usb/devices/2-1"))
    assert listed.version == "BuildLabel(N/A), RuntimeVersion(14)"


def test_a_missing_library() -> None:
    listed = library.list_devices("libedgetpu-that-is-not-there.so.1")
    assert (listed.version, listed.devices) == (None, ())
    assert listed.problem == (
        "libedgetpu-that-is-not-there.so.1: cannot open shared object file: No such file or directory"
    )


def test_a_library_that_is_another(build) -> None:
    listed = library.list_devices(build("-DNO_LISTING"))
    assert listed.problem is not None
    assert listed.problem.endswith("undefined symbol: edgetpu_list_devices")


def test_a_library_that_crashes(build) -> None:
    assert library.list_devices(build("-DABORTS")).problem == "its process died of SIGABRT"


def test_a_library_that_hangs_is_not_waited_for(build) -> None:
    began_s = time.monotonic()
    listed = library.list_devices(build("-DHANGS"), timeout_s=0.3)
    assert listed.problem == "no answer in 0.3 s"
    assert time.monotonic() - began_s < 10


def imitate_pycoral(folder: Path, listing: str) -> None:
    """A package laid out as Google's; it is an imitation, for Google's cannot be installed from a registry."""
    for part in ("utils", "pybind"):
        (folder / "pycoral" / part).mkdir(parents=True)
        (folder / "pycoral" / part / "__init__.py").touch()
    (folder / "pycoral/__init__.py").touch()
    (folder / "pycoral/pybind/_pywrap_coral.cpython-39-aarch64-linux-gnu.so").touch()
    (folder / "pycoral/utils/edgetpu.py").write_text(
        f"def list_edge_tpus():\n    {listing}\ndef get_runtime_version():\n    return {GOOGLES!r}\n"
    )


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose packages this process and its children can import."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_googles_pycoral_is_asked_where_it_is_installed(importable: Path) -> None:
    imitate_pycoral(importable, "return [{'type': 'pci', 'path': '/dev/apex_0'}, {'type': 'usb', 'path': '/sys/x'}]")
    listed = library.list_devices()
    assert (listed.by, listed.problem) == ("pycoral", None)
    assert listed.devices == (ListedDevice("pci", "/dev/apex_0"), ListedDevice("usb", "/sys/x"))
    assert library.parse_version(listed.version).runtime == 14


def test_a_library_of_ones_own_is_asked_itself(importable: Path, standin: Standin) -> None:
    imitate_pycoral(importable, "return []")
    listed = library.list_devices(standin.library)
    assert (listed.by, len(listed.devices)) == ("libedgetpu", 1)


def test_a_pycoral_that_fails_leaves_it_to_the_library(importable: Path) -> None:
    imitate_pycoral(importable, "raise ImportError('numpy.core.multiarray failed to import')")
    assert library.list_devices().by == "libedgetpu"


def test_the_other_pycoral_is_neither_taken_nor_imported(importable: Path) -> None:
    (importable / "pycoral").mkdir()
    (importable / "pycoral/__init__.py").write_text("raise RuntimeError('of the Allen Coral Atlas')")
    (importable / "pycoral/cli.py").touch()
    assert not library.has_pycoral()
    assert library.list_devices().by == "libedgetpu"


def test_googles_version() -> None:
    version = library.parse_version(GOOGLES)
    assert (version.runtime, version.compiler, version.stand_in) == (14, "6.3.0 20170516", False)
    assert library.parse_version(None) == library.Version(None, None, stand_in=False)


@given(
    st.text(alphabet=st.characters(exclude_characters=",)", exclude_categories=["Z", "C"]), min_size=1),
    st.integers(0, 999),
)
def test_a_version_is_found_in_whatever_is_around_it(compiler: str, runtime: int) -> None:
    version = library.parse_version(f"BuildLabel(DATE=x,COMPILER={compiler},TIME=y), RuntimeVersion({runtime})")
    assert (version.compiler, version.runtime) == (compiler, runtime)


@given(st.text(alphabet="BuildLabe(COMPILER=,6.30 )RuntimeVersion14", max_size=80))
def test_any_text_may_be_a_version(text: str) -> None:
    version = library.parse_version(text)
    assert "RuntimeVersion(" in text or version.runtime is None
    assert "COMPILER=" in text or version.compiler is None


STATUS = """Package: libedgetpu-dev
Status: install ok installed
Version: 16.0tf2.17.1-1

Package: libedgetpu1-std
Status: {status}
Priority: optional
Version: {version}
Description: Support library for Edge TPU
 Package: libedgetpu1-max
 .
 Version: 1.0

Package: libeditorconfig0
Status: install ok installed
Version: 0.12.6
"""


@pytest.mark.parametrize(
    ("version", "built_on"),
    [("16.0", None), ("15.0", None), ("16.0tf2.17.1-1", (2, 17)), ("16.0TF2.19.1-1", (2, 19)), ("16.0tf2.9", (2, 9))],
)
def test_the_installed_package(version: str, built_on: tuple[int, int] | None, tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS.format(status="install ok installed", version=version))
    found = library.package(tmp_path)
    assert found == Package("libedgetpu1-std", version)
    assert found.built_on == built_on


def test_a_package_that_was_removed_is_not_installed(tmp_path: Path) -> None:
    assert library.parse_packages(STATUS.format(status="deinstall ok config-files", version="16.0")) == ()
    assert library.package(tmp_path) is None


@given(st.text(alphabet="Package: libedgetpu1-std\nStatusinok\n.1 ", max_size=200))
def test_any_text_may_be_a_list_of_packages(text: str) -> None:
    assert all(each.name == "libedgetpu1-std" for each in library.parse_packages(text))


def test_the_interpreter_is_the_one_that_would_be_opened(importable: Path) -> None:
    for folder, name, version in (
        ("tflite_runtime", "tflite-runtime", "2.14.0"),
        ("ai_edge_litert", "ai-edge-litert", "9.1"),
    ):
        (importable / f"{folder}-{version}.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (importable / f"{folder}-{version}.dist-info/METADATA").write_text(metadata)
    assert library.interpreter(RuntimeSettings()) == Interpreter("ai-edge-litert", "9.1")
    old = library.interpreter(RuntimeSettings(interpreter="tflite"))
    assert old == Interpreter("tflite-runtime", "2.14.0")
    assert old.numbers == (2, 14)


def test_a_process_that_cannot_be_started_is_a_problem_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    problem = library.list_devices("libedgetpu-that-is-not-there.so.1").problem
    assert problem == "no process can be started: [Errno 2] No such file or directory: '/nowhere/python'"
