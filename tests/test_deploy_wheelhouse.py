"""`edge-deploy wheelhouse`: pip's choice for another machine, from small wheels made here; once from the real index."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.cli import cli
from tests.conftest import full_disk

ANY = "py3-none-any"
EXTRAS = "mqtt report tflite web"


def wheel(
    folder: Path, name: str, version: str, requires: Sequence[str] = (), tags: str = ANY, extras: str = ""
) -> Path:
    """Make an empty wheel."""
    path = folder / f"{name}-{version}-{tags}.whl"
    facts = [f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}"]
    facts += [f"Requires-Dist: {each}" for each in requires] + [f"Provides-Extra: {each}" for each in extras.split()]
    files = {
        "METADATA": "\n".join(facts),
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as file:
        for each, text in files.items():
            file.writestr(f"{name}-{version}.dist-info/{each}", text + "\n")
    return path


class Done(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str


class Index:
    """A folder of wheels that stands for the package index."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder / "index"
        self.folder.mkdir()
        self.out = folder / "out"
        self.own = self.edge_runner("1.0", ["bare"])
        wheel(self.folder, "bare", "1")
        self._capsys = capsys
        self.monkeypatch = monkeypatch
        for name, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(self.folder)}.items():
            monkeypatch.setenv(f"PIP_{name}", value)

    def edge_runner(self, version: str, requires: Sequence[str]) -> Path:
        self.own = wheel(self.folder.parent, "edge_runner", version, requires, extras=EXTRAS)
        return self.own

    def gather(self, *options: object, python: str = "3.10") -> Done:
        """By default for the system whose own numpy does not matter, which saves time."""
        place = ["--out", self.out, "--python", python, "--wheel", self.own]
        return edge_deploy(self._capsys, *place, *options)

    def names(self) -> set[str]:
        return {path.name.partition("-")[0] for path in self.out.glob("*.whl")} - {"edge_runner"}


def edge_deploy(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    try:
        cli.main(["wheelhouse", *map(str, arguments)], standalone_mode=False)
        exit_code = 0
    except SystemExit as end:
        exit_code = int(end.code or 0)
    return Done(exit_code, *capsys.readouterr())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Index:
    return Index(tmp_path, monkeypatch, capsys)


MARKERS = {
    "before_310": 'python_version < "3.10"',
    "since_313": 'python_version >= "3.13"',
    "full_version": 'python_full_version >= "3.11.2" and python_full_version < "3.12"',
    "arm": 'platform_machine == "aarch64"',
    "intel": 'platform_machine == "x86_64"',
    "linux": 'sys_platform == "linux" and platform_system == "Linux" and os_name == "posix"',
    "windows": 'sys_platform == "win32" or platform_system == "Windows"',
    "in_report": 'extra == "report" and platform_machine == "aarch64"',
}


@pytest.mark.parametrize(
    ("python", "arch", "expected"),
    [
        ("3.9", "aarch64", {"before_310", "arm", "linux", "in_report"}),
        ("3.11", "x86_64", {"full_version", "intel", "linux"}),
        ("3.13", "aarch64", {"since_313", "arm", "linux", "in_report"}),
    ],
)
def test_markers_are_those_of_the_device(index: Index, python: str, arch: str, expected: set[str]) -> None:
    for name in MARKERS:
        wheel(index.folder, name, "1")
        wheel(index.folder, f"{name}_below", "1")
    markers = {name: marker for name, marker in MARKERS.items() if name != "in_report"}
    wheel(index.folder, "between", "1", [f"{name}_below; {marker}" for name, marker in markers.items()])
    index.edge_runner("1.0", ["between", *(f"{name}; {marker}" for name, marker in MARKERS.items())])
    done = index.gather("--arch", arch, "--extra", "report", "--system-numpy", "none", python=python)
    assert done.exit_code == 0, done.stderr
    assert index.names() == {"between"} | expected | {f"{name}_below" for name in expected - {"in_report"}}


def test_the_newest_wheels_that_the_devices_glibc_can_load(index: Index) -> None:
    for version, tags in {
        "1.0": "cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64",
        "1.1": "cp39-abi3-manylinux_2_36_aarch64",
        "1.2": "cp311-cp311-manylinux_2_37_aarch64",
        "1.3": "cp311-cp311-manylinux_2_17_x86_64",
        "1.4": "cp312-cp312-manylinux_2_17_aarch64",
        "1.5": "cp311-cp311-macosx_11_0_arm64",
    }.items():
        wheel(index.folder, "compiled", version, tags=tags)
    wheel(index.folder, "old", "1", tags="cp311-cp311-manylinux1_x86_64")
    index.edge_runner("1.0", ["compiled", 'old; platform_machine == "x86_64"'])
    for arch, expected in (("aarch64", {"1.1"}), ("x86_64", {"1.1", "1.3"})):
        assert index.gather("--arch", arch, "--system-numpy", "none", python="3.11").exit_code == 0
        assert {path.name.split("-")[1] for path in index.out.glob("compiled-*")} == expected
    assert list(index.out.glob("old-*"))


def test_what_the_outlets_need_comes_unasked(index: Index) -> None:
    for name in ("broker", "report_part", "page"):
        wheel(index.folder, name, "1")
    wanted = [f'{name}; extra == "{extra}"' for name, extra in (("broker", "mqtt"), ("page", "web"))]
    index.edge_runner("1.0", ["bare", *wanted, 'report_part; extra == "report"'])
    assert json.loads(index.gather("--json").stdout)["extras"] == ["mqtt", "web"]
    assert index.names() == {"bare", "broker", "page"}
    done = index.gather("--extra", "web", "--extra", "report")
    assert "edge-runner[mqtt,web,report] 1.0 for Python 3.10.4" in done.stdout
    assert index.names() == {"bare", "broker", "page", "report_part"}


@pytest.fixture
def with_numpy(index: Index) -> Index:
    """As in PyPI: the newest OpenCV refuses the numpy of Bookworm, an older one takes it."""
    for version in ("1.24.2", "2.2.4", "2.5"):
        wheel(index.folder, "numpy", version)
    wheel(index.folder, "opencv", "4", ["numpy>=1.21"])
    wheel(index.folder, "opencv", "5", ["numpy>=2"])
    index.edge_runner("1.0", ["numpy", "opencv"])
    return index


def test_both_for_a_numpy_of_its_own_and_for_the_systems(with_numpy: Index) -> None:
    done = with_numpy.gather(python="3.11")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    rows = [line.split(maxsplit=2) for line in lines[:5]]
    assert {name.replace("-py3-none-any.whl", ""): taken for name, _, *taken in rows} == {
        "edge_runner-1.0": [],
        "numpy-1.24.2": ["only with the system's numpy 1.24.2"],
        "numpy-2.5": ["only with a numpy of its own"],
        "opencv-4": ["only with the system's numpy 1.24.2"],
        "opencv-5": ["only with a numpy of its own"],
    }
    sizes = {name: int(size.replace(",", "")) for name, size, *_ in rows}
    assert sizes == {path.name: path.stat().st_size for path in with_numpy.out.glob("*.whl")}
    assert lines[5].split() == ["5", "wheels", f"{sum(sizes.values()):,}", "bytes"]
    assert "edge-runner[mqtt,web] 1.0 for Python 3.11.2 on aarch64" in lines[6]


def test_the_systems_numpy_may_be_none_or_another(with_numpy: Index) -> None:
    assert with_numpy.gather("--system-numpy", "none", python="3.11").exit_code == 0
    assert {path.name.split("-")[1] for path in with_numpy.out.glob("numpy-*")} == {"2.5"}
    refused = with_numpy.gather("--system-numpy", "0.9")
    assert refused.exit_code == 1
    assert "Error: No versions go together: " in refused.stderr
    assert "numpy==0.9" in refused.stderr


def test_a_second_time_changes_nothing_and_a_new_version_replaces_the_old(index: Index) -> None:
    first = index.gather()
    assert "2 are new" in first.stdout
    (index.out / "other-1-py3-none-any.whl").write_bytes(b"of another system")
    (index.out / "notes.txt").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in index.out.glob("*.whl")}
    second = index.gather()
    assert "0 are new" in second.stdout
    assert "left alone: 1 other wheels" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in index.out.glob("*.whl")} == before

    (index.out / "bare-1-py3-none-any.whl").write_bytes(b"cut short by a power failure")
    index.edge_runner("1.1", ["bare"])
    third = index.gather()
    assert "removed, because an installer must find one edge-runner: edge_runner-1.0-py3-none-any.whl" in third.stdout
    assert {path.name for path in index.out.iterdir()} == {
        *("SHA256SUMS", "bare-1-py3-none-any.whl", "edge_runner-1.1-py3-none-any.whl"),
        *("notes.txt", "other-1-py3-none-any.whl"),
    }
    sums = dict(reversed(line.split("  ")) for line in (index.out / "SHA256SUMS").read_text().splitlines())
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in index.out.glob("*.whl")}
    assert (index.out / "bare-1-py3-none-any.whl").read_bytes() == (
        index.folder / "bare-1-py3-none-any.whl"
    ).read_bytes()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--python", "3.14"], "Python '3.14' was given: expected one of 3.9, 3.10, 3.11, 3.12, 3.13."),
        (["--arch", "armv7l"], "The processor 'armv7l' was given: expected aarch64 or x86_64"),
        (["--extra", "nonsense"], "--extra nonsense: edge-runner 1.0 has mqtt, report, tflite, web."),
        (["--tflite"], "There is no tflite-runtime for Python 3.10.4"),
        (["--wheel", "no/such.whl"], "--wheel no/such.whl: there is no such file."),
        (["--wheel", "setup.cfg"], "--wheel setup.cfg: expected a wheel, and this is none."),
        (["--out", "setup.cfg"], "setup.cfg is a file: expected a folder for the wheels"),
        (["--out", "/proc/nothing"], "Cannot write /proc/nothing: "),
    ],
)
def test_mistakes_are_one_sentence(index: Index, options: list[str], sentence: str) -> None:
    done = index.gather(*options)
    assert done.exit_code == 1
    assert done.stdout == ""
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"Error: {sentence}")
    assert error.endswith(".")
    assert not index.out.exists()


def test_what_the_index_lacks_is_named_with_the_system(index: Index) -> None:
    wheel(index.folder, "bare", "2", ["compiled==3"])
    wheel(index.folder, "compiled", "3", tags="cp310-cp310-manylinux_2_39_aarch64")
    index.edge_runner("1.0", ["bare==2"])
    done = index.gather()
    assert done.exit_code == 1
    assert "Error: No wheel of compiled==3 that fits Python 3.10.4 on aarch64" in done.stderr
    assert "glibc 2.35" in done.stderr
    assert not index.out.exists()


def test_another_packages_wheel_is_refused(index: Index) -> None:
    done = index.gather("--wheel", index.folder / "bare-1-py3-none-any.whl")
    assert done.exit_code == 1
    assert "expected a wheel of edge-runner" in done.stderr


def test_without_a_network_nothing_changes(index: Index) -> None:
    index.gather()
    before = {path: path.read_bytes() for path in index.out.iterdir()}
    index.edge_runner("2.0", ["bare"])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        for name, value in {"NO_INDEX": "0", "FIND_LINKS": "", "INDEX_URL": address, "RETRIES": "1"}.items():
            index.monkeypatch.setenv(f"PIP_{name}", value)
        done = index.gather()
    assert done.exit_code == 1
    assert "Error: The package index does not answer (Connection refused): connect this machine" in done.stderr
    assert {path: path.read_bytes() for path in index.out.iterdir()} == before


def test_a_full_disk_is_told(index: Index) -> None:
    (index.folder / "bare-1-py3-none-any.whl").write_bytes(b"")
    big = wheel(index.folder, "bare", "1")
    with zipfile.ZipFile(big, "a") as file:
        file.writestr("bare.bin", os.urandom(50_000))
    with full_disk(20_000):
        done = index.gather()
    assert done.exit_code == 1
    assert f"Error: Cannot write {index.out}: " in done.stderr.splitlines()[-1]
    assert not index.out.exists()


def test_an_installed_package_needs_a_wheel(index: Index, tmp_path: Path) -> None:
    """The commands of a wheel that lies elsewhere, as after `pip install`."""
    import shutil

    import deploy
    import edge

    for package in (edge, deploy):
        shutil.copytree(Path(package.__file__).parent, tmp_path / "site" / package.__name__)
    command = [sys.executable, "-m", "deploy.cli", "wheelhouse", "--python", "3.11", "--out", str(index.out)]
    done = subprocess.run(command, cwd=tmp_path / "site", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Error: edge-runner is an installed package here: name its wheel with --wheel FILE" in done.stderr


def reachable() -> bool:
    try:
        socket.create_connection(("pypi.org", 443), timeout=5).close()
    except OSError:
        return False
    return True


def test_this_checkout_and_the_real_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As few as there are: another processor and an older Python than most that run this, no second numpy."""
    if not reachable():
        pytest.skip("PyPI cannot be reached from here")
    place = ["--python", "3.9", "--arch", "aarch64", "--out", tmp_path / "wheels"]
    done = edge_deploy(capsys, *place, "--json")
    assert done.exit_code == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    files = {each["file"].partition("-")[0]: each["file"] for each in report["wheels"]}
    assert {"edge_runner", "ai_edge_litert", "numpy", "opencv_python_headless", "msgspec", "pyyaml"} <= set(files)
    assert {"paho_mqtt", "prometheus_client", "aiohttp"} <= set(files)
    assert files["ai_edge_litert"].startswith("ai_edge_litert-2.1.0-cp39-cp39-manylinux_2_")
    assert all(name.endswith(("_aarch64.whl", "-none-any.whl")) for name in files.values())
    with zipfile.ZipFile(tmp_path / "wheels" / files["edge_runner"]) as own:
        inside = own.namelist()
    assert {"edge/cli.py", "deploy/wheelhouse/as_target.py", "edge/systemd/venv.sh"} <= set(inside)
    assert not [name for name in inside if "__pycache__" in name or name.startswith("tests/")]
