"""TFLite metadata that is packed is what the device reads, and changes nothing else."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ModelError
from edge.model import tflite_file
from edge.runtimes import open_runtime
from tests.conftest import MODEL, ROOT, TinyModels

pytest.importorskip("flatbuffers", reason="flatbuffers comes with ai-edge-litert and TensorFlow; neither is installed")

from deploy.conversion import metadata

LABELS = "red\ngrün\nblue\n"
ABOUT = metadata.Metadata("colours", "tells colours apart", "the tests", "Apache-2.0", 127.0, 128.0, "labels.txt")
NAMES = [path.stem for path in sorted((ROOT / "tests" / "fixtures" / "models").glob("*.tflite"))]


def bare(tiny: TinyModels) -> list[Path]:
    """The tiny models that can be packed: not yet packed, and run by the CPU."""
    facts = {name: tflite_file.read(tiny[name]) for name in NAMES}
    return [tiny[name] for name in NAMES if facts[name].mean is None and not facts[name].custom_operators]


def test_the_device_reads_what_was_packed(tiny: TinyModels, tmp_path: Path) -> None:
    for path in bare(tiny):
        packed = tmp_path / path.name
        packed.write_bytes(metadata.pack(path.read_bytes(), ABOUT, LABELS))
        facts = tflite_file.read(packed)
        assert (facts.mean, facts.std) == ((127.0,), (128.0,))
        assert tflite_file.packed_labels(packed) == LABELS
        assert facts._replace(mean=None, std=None) == tflite_file.read(path)


def test_the_model_computes_the_same(tiny: TinyModels, tmp_path: Path, runtime_name: str) -> None:
    path = tiny["softmax_uint8"]
    packed = tmp_path / "packed.tflite"
    packed.write_bytes(metadata.pack(path.read_bytes(), ABOUT, LABELS))
    answers = []
    for model in (path, packed):
        runtime = open_runtime(runtime_name, model, 1)
        given = np.random.default_rng(0).integers(0, 256, runtime.input().shape)
        runtime.input()[...] = given.astype(runtime.input().dtype)
        runtime.invoke()
        answers.append(runtime.output().copy())
        runtime.close()
    np.testing.assert_array_equal(*answers)


def test_the_same_bytes_on_every_day(tiny: TinyModels) -> None:
    model = bare(tiny)[0].read_bytes()
    packed = metadata.pack(model, ABOUT, LABELS)
    assert packed == metadata.pack(model, ABOUT, LABELS)
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        (entry,) = archive.infolist()
    assert entry.date_time == (1980, 1, 1, 0, 0, 0)
    assert entry.compress_type == zipfile.ZIP_STORED


def test_the_old_content_keeps_its_bytes_and_alignment(tiny: TinyModels) -> None:
    for path in bare(tiny):
        model = path.read_bytes()
        position = metadata.pack(model, ABOUT, LABELS).index(model)
        assert position % 16 == 0


def test_metadata_is_not_packed_twice(tiny: TinyModels) -> None:
    packed = metadata.pack(bare(tiny)[0].read_bytes(), ABOUT, LABELS)
    with pytest.raises(ModelError, match="has some already"):
        metadata.pack(packed, ABOUT, LABELS)


@pytest.mark.parametrize("model", [b"", b"\x10\0\0\0TFL3", b"<html>", b"\xff\xff\xff\x7fTFL3" + bytes(64)])
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(ModelError, match="cannot take metadata"):
        metadata.pack(model, ABOUT, LABELS)


def test_the_shipped_model_carries_its_labels() -> None:
    folder = ROOT / "models" / MODEL
    facts = tflite_file.read(folder / "model.tflite")
    assert (facts.mean, facts.std) == ((127.0,), (128.0,))
    assert tflite_file.packed_labels(folder / "model.tflite") == (folder / "labels.txt").read_text()


def test_the_shipped_model_runs_bare(photos: dict[str, np.ndarray]) -> None:
    from edge import Classifier
    from edge.model.loading import BareOptions

    options = BareOptions(crop_fraction=0.875)
    with Classifier.open(str(ROOT / "models" / MODEL / "model.tflite"), threads=1, options=options) as bare_model:
        assert "cat" in bare_model.classify(photos["cat"]).predictions[0].label
