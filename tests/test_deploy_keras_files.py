"""Cards inside .keras files, without TensorFlow where they are only read."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deploy.conversion import keras_files
from deploy.conversion.keras_files import Card
from edge.errors import ModelError
from edge.tensors import InputSpec, Preprocessor
from tests.conftest import KERAS_WITH_NUMPY_2, ROOT

CARD = Card("tiny", InputSpec(32, 32, "float32", (127.5,), (127.5,)), ("red, rot", "grün"), "random", "none")
SAVED = """
import sys
from pathlib import Path
import numpy as np, msgspec
from deploy.heavy import require_tensorflow
require_tensorflow()
import keras
from deploy.conversion import keras_files
from edge.errors import ConfigError, LabelError, ModelError
from tests.fixtures import make_keras
path = Path(sys.argv[1], "new", "model.keras")
mean, std = make_keras.MEANS["one"]
model, card = make_keras.tiny(mean, std), make_keras.card(mean, std)
model.compile("adam", "categorical_crossentropy")
keras_files.save(path, model, card)
keras_files.save(path, model, card)
assert [each.name for each in path.parent.iterdir()] == ["model.keras"]
read, told = keras_files.load(path)
plain = keras.saving.load_model(path)
given = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
expected = np.asarray(model(given, training=False))
for other in (read, plain):
    np.testing.assert_array_equal(np.asarray(other(given, training=False)), expected)
assert told == card == keras_files.read_card(path)
names = Path(sys.argv[1], "names.txt")
names.write_text("background\\none\\ntwo\\n")
told = keras_files.load(path, None, names)[1]
assert (told.labels, told.background_offset) == (("background", "one", "two"), 1)
before = path.read_bytes()
small = msgspec.structs.replace(card, input=msgspec.structs.replace(card.input, width_px=31))
for wrong, kind in ((msgspec.structs.replace(card, labels=("one",)), LabelError), (small, ModelError)):
    try:
        keras_files.save(path, model, wrong)
    except kind as error:
        print(error)
    else:
        raise SystemExit(f"{wrong} was taken")
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
try:
    keras_files.save(path, model, card)
except ConfigError as error:
    print(error)
else:
    raise SystemExit("a full disk was not noticed")
assert path.read_bytes() == before
assert [each.name for each in path.parent.iterdir()] == ["model.keras"]
"""


def written(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"config": b"{}", **members}.items():
            archive.writestr(f"{name}.json", content)
    return path


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.keras", edge_runner=msgspec.json.encode(CARD))
    assert keras_files.read_card(path) == CARD
    assert keras_files.read_card(written(tmp_path / "b.keras")) is None


@pytest.mark.parametrize(
    "card", [b"", b"[]", b"{}", b"\xff", b'{"backbone": 1}', msgspec.json.encode(CARD)[:-1] + b', "x": 1}']
)
def test_a_card_that_is_none_is_refused(tmp_path: Path, card: bytes) -> None:
    with pytest.raises(ModelError, match="has a card that is not one"):
        keras_files.read_card(written(tmp_path / "a.keras", edge_runner=card))


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.keras", weights=bytes(1000), edge_runner=msgspec.json.encode(CARD))
    content = path.read_bytes()
    for damaged in (content[:-40], content[:200], content.replace(bytes(1000), bytes(999) + b"\1")):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="is damaged"):
            keras_files.read_card(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.keras"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is not a \.keras file"):
        keras_files.read_card(path)


def test_another_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("document.xml", "")
    with pytest.raises(ModelError, match=r"is not a \.keras file"):
        keras_files.read_card(tmp_path / "a.keras")


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_model_keeps_its_card_and_opens_in_plain_keras(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAVED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    labels, size, disk = done.stdout.splitlines()
    assert "has 3 outputs and 1 labels" in labels
    assert "takes pictures of 32 x 32 px" in size
    assert disk.startswith("Cannot write the model ")


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.filterwarnings(f"ignore:{KERAS_WITH_NUMPY_2}:DeprecationWarning")
@pytest.mark.parametrize("nested", [False, True])
def test_keras_resnet_gets_its_colours_in_keras_order(nested: bool, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    options = {"weights": None, "input_shape": (224, 224, 3)}
    if nested:
        inner = keras.applications.ResNet50(include_top=False, pooling="avg", **options)
        given = keras.Input((224, 224, 3))
        model = keras.Model(given, keras.layers.Dense(3, activation="softmax")(inner(given)))
    else:
        model = keras.applications.ResNet50(classes=3, **options)
    model.layers[-1].kernel.assign(model.layers[-1].kernel / 50)  # no score near 0 or 1, where all would be alike
    model.save(tmp_path / "resnet.keras")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    picture[..., 0] //= 4  # red and blue must not look alike

    ours, card = keras_files.load(tmp_path / "resnet.keras", "resnet50", tmp_path / "labels.txt")
    tensor = np.empty((1, 224, 224, 3), np.float32)
    Preprocessor(msgspec.structs.replace(card.input, crop_fraction=1.0)).fill(picture, tensor[0])
    theirs = keras.applications.resnet50.preprocess_input(picture[None].astype(np.float32))
    got, expected, unturned = (
        np.asarray(network(values, training=False))[0]
        for network, values in ((ours, tensor), (model, theirs), (model, tensor))
    )
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    assert np.abs(unturned - expected).max() > 5e-3
