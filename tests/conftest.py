"""Real material for the tests: the shipped model, photographs from scikit-image's wheel, larger sets where present."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import resource
import shutil
import signal
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import hypothesis
import numpy as np
import pytest
import yaml

from tests.edgetpu import Library, Standin, compiled

# Timings belong into benchmarks: a busy machine must not fail a test.
hypothesis.settings.register_profile("edge", deadline=None)
hypothesis.settings.load_profile("edge")

ROOT = Path(__file__).resolve().parent.parent
MODEL = "efficientnet_lite0_int8"
KERAS_WITH_NUMPY_2 = "__array__ implementation doesn't accept a copy keyword"
"""A warning about Keras' own code, given when it saves a model."""


DATA = Path(os.environ.get("EDGE_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """What a test printed may hold the name of a file that is not UTF-8, and pytest-xdist cannot send that."""
    return _sendable((yield))


def _sendable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _sendable(each) for key, each in value.items()}
    return type(value)(map(_sendable, value)) if isinstance(value, (list, tuple)) else value


@pytest.fixture(scope="session")
def data() -> Path:
    """The larger picture sets; tests that need them are skipped where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"no picture sets at {DATA} (set EDGE_TEST_DATA)")
    return DATA


@pytest.fixture(scope="session")
def photos() -> dict[str, np.ndarray]:
    """Photographs as uint8 RGB, by what they show."""
    import skimage.data

    return {
        "cat": skimage.data.chelsea(),
        "coffee": skimage.data.coffee(),
        "rocket": skimage.data.rocket(),
    }


@pytest.fixture(scope="session")
def photo_files(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The photographs as PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    paths = {name: folder / f"{name}.png" for name in photos}
    for name, path in paths.items():
        cv2.imwrite(str(path), cv2.cvtColor(photos[name], cv2.COLOR_RGB2BGR))
    return paths


@pytest.fixture(scope="session")
def classifier():
    """The shipped model, opened once."""
    from edge import Classifier

    with Classifier.open(MODEL, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Tiny models that tell red, green and blue pictures apart; tests/fixtures/make_models.py makes them."""
    folder = tmp_path_factory.mktemp("labels")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    return TinyModels(ROOT / "tests" / "fixtures" / "models", folder / "labels.txt")


class TinyModels:
    """Paths of the tiny models and of the labels that fit them."""

    def __init__(self, folder: Path, labels: Path) -> None:
        self._folder = folder
        self.labels = labels

    def __getitem__(self, name: str) -> Path:
        return self._folder / f"{name}.tflite"


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    import shutil

    return Path(shutil.copytree(ROOT / "models" / MODEL, tmp_path / MODEL))


@pytest.fixture(scope="session")
def standin_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The stand-in for libedgetpu, built for this session; skips without gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, which builds the stand-in for libedgetpu (sudo apt install gcc libc6-dev)")
    return Library.build(tmp_path_factory.mktemp("standin-library"))


@pytest.fixture
def standin(standin_library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """The stand-in with one USB device and no faults, for this process and those that it starts."""
    made = Standin(standin_library, tmp_path / "standin")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture(scope="session")
def compiled_content() -> bytes:
    """The shipped model as Coral's compiler would leave it; the stand-in can run it."""
    return compiled((ROOT / "models" / MODEL / "model.tflite").read_bytes())


@pytest.fixture
def compiled_model(compiled_content: bytes, tmp_path: Path) -> Path:
    """A folder with model_edgetpu.tflite and its twin for the CPU, model.tflite, the shipped one."""
    folder = tmp_path / "compiled"
    folder.mkdir()
    shutil.copyfile(ROOT / "models" / MODEL / "model.tflite", folder / "model.tflite")
    (folder / "model_edgetpu.tflite").write_bytes(compiled_content)
    return folder


@pytest.fixture
def compiled_bundle(compiled_content: bytes, bundle_copy: Path) -> Path:
    """A copy of the shipped bundle, with its model compiled for an Edge TPU too."""
    (bundle_copy / "model_edgetpu.tflite").write_bytes(compiled_content)
    section = {
        "file": "model_edgetpu.tflite",
        "sha256": hashlib.sha256(compiled_content).hexdigest(),
        "compiler": "none: made for tests",
        "tpu_operators": 1,
        "cpu_operators": 0,
    }
    with (bundle_copy / "model.yaml").open("a") as contract:
        yaml.safe_dump({"edgetpu": section}, contract, sort_keys=False)
    return bundle_copy


@pytest.fixture(params=["litert", "tflite"])
def runtime_name(request: pytest.FixtureRequest) -> str:
    """Each runtime by name; skipped where it is not installed or cannot be imported."""
    from edge.errors import RuntimeUnavailableError
    from edge.runtimes.cpu import LiteRt, TfliteRuntime

    try:
        {"litert": LiteRt, "tflite": TfliteRuntime}[request.param].require()
    except RuntimeUnavailableError as error:
        pytest.skip(str(error))
    return str(request.param)


@pytest.fixture(scope="session")
def class_folders(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set: 30 flowers of each class, or parts of the photographs where the flowers are absent."""
    root = tmp_path_factory.mktemp("pictures")
    if (DATA / "flowers").is_dir():
        for folder in sorted((DATA / "flowers").iterdir()):
            (root / folder.name).mkdir()
            for path in sorted(folder.glob("*.jpg"))[:30]:
                shutil.copyfile(path, root / folder.name / path.name)
    else:
        cut_photos(root, photos, 30)
    return root


def cut_photos(root: Path, photos: dict[str, np.ndarray], count: int, names: tuple[str, ...] = ()) -> Path:
    """Class folders of so many square parts of each photograph, as JPEG files; `names` are those of the first ones."""
    random = np.random.default_rng(0)
    for name, pixels in zip(names or photos, photos.values()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            side = int(random.integers(90, 160))
            top, left = (int(random.integers(0, room - side)) for room in pixels.shape[:2])
            part = cv2.cvtColor(pixels[top : top + side, left : left + side], cv2.COLOR_RGB2BGR)
            (root / name / f"{number}.jpg").write_bytes(cv2.imencode(".jpg", part)[1].tobytes())
    return root


@pytest.fixture(scope="session")
def tensorflow() -> None:
    """TensorFlow in this process, as `edge-deploy` uses it; skips where it is not installed."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed (extra: convert)")
    from deploy.training.train import require_tensorflow

    require_tensorflow()


@contextmanager
def full_disk(most_bytes: int = 4096) -> Iterator[None]:
    """No file can grow past so many bytes, as if the disk were full.

    Around the calls that it is for, not around whole tests: pytest itself may be writing to a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Lets SIGINT interrupt, also where whoever runs the tests has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Trained(NamedTuple):
    """What `edge-deploy train` left, and of what."""

    out: Path
    data: Path
    cache: Path
    said: str
    """On stdout."""


@pytest.fixture(scope="session")
def trained(tensorflow: None, class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A fine-tuned EfficientNet-Lite0 with the package's weights, and many pictures to validate on."""
    from click.testing import CliRunner

    from deploy.commands.train import train

    folder = tmp_path_factory.mktemp("trained")
    out, cache = folder / "out", folder / "cache"
    options = ["--mode", "finetune", "--blocks", 2, "--epochs", 8, "--finetune-epochs", 3, "--learning-rate", 3e-3]
    place = [class_folders, "--backbone", "efficientnet_lite0", "--out", out, "--cache", cache, "--shares", "50,40,10"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", KERAS_WITH_NUMPY_2, DeprecationWarning)
        done = CliRunner().invoke(train, [str(argument) for argument in (*place, *options)])
    assert done.exit_code == 0, done.output
    return Trained(out, class_folders, cache, done.stdout)
