"""Which file of a model runs on an Edge TPU and which on the CPU, and why; with a stand-in for libedgetpu."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path
from typing import Any, Callable, Optional

import msgspec
import numpy as np
import pytest

from edge import Classifier
from edge.errors import AcceleratorError, ConfigError, EdgeError, LabelError, ModelError
from edge.images import read_rgb
from edge.model import tflite_file
from edge.model.choosing import Files, plan
from edge.model.loading import BareOptions
from edge.runtimes.settings import RuntimeSettings
from tests.conftest import MODEL, TinyModels
from tests.edgetpu import Standin, compiled

pytest.importorskip("flatbuffers", reason="flatbuffers comes with ai-edge-litert and TensorFlow; neither is installed")

STAND_IN = "edgetpu-standin"
RED = np.full((16, 16, 3), (230, 20, 20), np.uint8)
LABELS = "red\ngreen\nblue\n"


@pytest.fixture
def pair(tiny: TinyModels, tmp_path: Path) -> Path:
    """A compiled tiny model, with its twin beside it; neither has labels inside."""
    return made_pair(tmp_path / "pair", tiny["softmax_uint8"].read_bytes())


def made_pair(folder: Path, model: bytes) -> Path:
    folder.mkdir()
    (folder / "tiny.tflite").write_bytes(model)
    (folder / "tiny_edgetpu.tflite").write_bytes(compiled(model))
    return folder / "tiny_edgetpu.tflite"


def packed(model: bytes, labels: str = LABELS) -> bytes:
    """A model with its normalization and labels inside."""
    from deploy.conversion import metadata

    about = metadata.Metadata("colours", "tells colours apart", "the tests", "Apache-2.0", 127.5, 127.5, "labels.txt")
    return metadata.pack(model, about, labels)


def edited(model: bytes, edit: Callable[[Any], None]) -> bytes:
    """A model whose first input tensor is changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromPackedBuf(model)
    graph = whole.subgraphs[0]
    edit(graph.tensors[graph.inputs[0]])
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def opened(model: Path, standin: Standin, options: Optional[BareOptions] = None, **settings: Any) -> Classifier:
    settings = {"library": standin.library, "open_s": 20.0, **settings}
    return Classifier.open(str(model), runtime=RuntimeSettings(**settings), threads=1, options=options)


def test_by_name_it_runs_on_the_edge_tpu_and_answers_as_on_the_cpu(
    compiled_model: Path, photos: dict[str, np.ndarray], standin: Standin, runtime_name: str
) -> None:
    """Labels and activation, which the compiled file does not tell, are its twin's."""
    with Classifier.open(str(compiled_model / "model.tflite"), runtime=runtime_name) as classifier:
        expected = classifier.classify(photos["cat"]).predictions
    model = compiled_model / "model_edgetpu.tflite"
    with opened(model, standin, name="edgetpu", interpreter=runtime_name, device="usb:0") as classifier:
        record = classifier.classify(photos["cat"])
        assert record.predictions == expected
        assert (record.backend, classifier.ran.backend) == (STAND_IN, STAND_IN)
        assert classifier.bundle.choice is None
        assert classifier.bundle.path == classifier.bundle.compiled == model
    assert len(standin.opened) == 1


def test_corals_own_pair_answers_the_same_on_both(data: Path, standin: Standin) -> None:
    folder = data / "coral"
    twin = folder / "mobilenet_v1_0.25_128_quant.tflite"
    standin.set(twin=twin)
    picture = read_rgb(folder / "parrot.jpg")
    with Classifier.open(str(twin), threads=1) as classifier:
        expected = classifier.classify(picture).predictions
    with opened(folder / "mobilenet_v1_0.25_128_quant_edgetpu.tflite", standin) as classifier:
        record = classifier.classify(picture)
    assert (record.predictions, record.backend) == (expected, STAND_IN)


def test_by_name_nothing_else_answers(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    standin.set(devices="")
    with pytest.raises(AcceleratorError, match="none is plugged in") as error:
        opened(pair, standin, BareOptions(labels=str(tiny.labels)), name="edgetpu")
    assert f"{pair} was compiled for a Coral Edge TPU" in str(error.value)
    assert f"its twin {pair.with_name('tiny.tflite')} runs on the CPU with --fallback cpu" in str(error.value)


def test_by_name_with_a_fallback_the_twin_answers_and_is_named(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    standin.set(devices="")
    options = BareOptions(labels=str(tiny.labels))
    with opened(pair, standin, options, name="edgetpu", fallback="cpu") as classifier:
        record = classifier.classify(RED)
        assert (record.backend, classifier.ran.backend) == ("cpu", "edgetpu")
        assert record.predictions[0].label == "red"


def test_auto_takes_the_edge_tpu_that_is_there(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    with opened(pair, standin, BareOptions(labels=str(tiny.labels))) as classifier:
        assert classifier.classify(RED).backend == STAND_IN
        assert classifier.bundle.choice == (
            f"auto chose an Edge TPU (usb /sys/bus/usb/devices/2-1) for {pair}; the CPU runs tiny.tflite while it does "
            "not work."
        )
    pair.with_name("tiny.tflite").unlink()
    options = BareOptions(labels=str(tiny.labels), activation="softmax")
    with opened(pair, standin, options) as classifier:
        assert classifier.classify(RED).backend == STAND_IN
        told = f"there is no {pair.with_name('tiny.tflite')} (put it there, or name it: --set runtime.twin=FILE)."
        assert told in str(classifier.bundle.choice)


@pytest.mark.parametrize(
    ("there", "device", "chosen"),
    [
        ("usb,usb", "any", "an Edge TPU (usb /sys/bus/usb/devices/2-1)"),
        ("usb,pci", "any", "an Edge TPU (pci /dev/apex_0)"),
        ("usb,usb", "usb:1", "an Edge TPU (usb /sys/bus/usb/devices/2-2)"),
        ("usb,pci", ("usb", "pci:0"), "the Edge TPUs (usb /sys/bus/usb/devices/2-1, pci /dev/apex_0)"),
        ("usb", "usb:1", "an Edge TPU (usb:1)"),
    ],
)
def test_auto_tells_which_one_it_opens(pair: Path, standin: Standin, there: str, device: Any, chosen: str) -> None:
    standin.set(devices=there)
    settings = RuntimeSettings(device=device, library=standin.library)
    planned = plan(Files(pair, pair, None, trusted=False), settings)
    assert str(planned.choice).startswith(f"auto chose {chosen} for {pair}; ")


def test_all_that_are_named_are_needed(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    options = BareOptions(labels=str(tiny.labels))
    with pytest.raises(AcceleratorError, match=r"needs all of the Edge TPUs that were named, usb:0, usb:1;") as error:
        opened(pair, standin, options, name="edgetpu", device=("usb:0", "usb:1"))
    assert "The Edge TPU usb:1 cannot be opened because only usb:0 is connected" in str(error.value)
    assert "none can be used" not in str(error.value)


@pytest.mark.parametrize(
    ("library", "reason"),
    [(None, "none is plugged in"), ("libedgetpu.so.404", r"libedgetpu\.so\.404 is not installed")],
)
def test_auto_without_an_edge_tpu(
    pair: Path, tiny: TinyModels, standin: Standin, library: Optional[str], reason: str
) -> None:
    """The twin, and why; without a twin no more than what is missing."""
    standin.set(devices="")
    options, twin = BareOptions(labels=str(tiny.labels)), pair.with_name("tiny.tflite")
    with opened(pair, standin, options, library=library or standin.library) as classifier:
        assert classifier.classify(RED).backend == classifier.ran.backend == "cpu"
        choice = str(classifier.bundle.choice)
    assert choice.startswith(f"auto chose the CPU, for {twin}. ")
    assert re.search(reason, choice)
    twin.unlink()
    with pytest.raises(AcceleratorError, match=reason) as error:
        opened(pair, standin, options, library=library or standin.library)
    assert f"{pair} was compiled for a Coral Edge TPU" in str(error.value)
    assert f"there is no {twin}" in str(error.value)
    assert not standin.opened


@pytest.mark.parametrize("runtime", ["litert", "tflite"])
def test_a_cpu_by_name_is_told_what_to_run_instead(pair: Path, standin: Standin, runtime: str) -> None:
    with pytest.raises(ModelError, match="was compiled for a Coral Edge TPU") as error:
        opened(pair, standin, name=runtime)
    twin = pair.with_name("tiny.tflite")
    told = f"{runtime} runs on the CPU: give the .tflite that it was compiled from"
    assert f"{told}, {twin}, or --runtime auto." in str(error.value)
    twin.unlink()
    with pytest.raises(ModelError, match=f"{told}\\."):
        opened(pair, standin, name=runtime)


def test_a_model_that_was_not_compiled(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    with pytest.raises(ModelError, match=f"{pair} may be the compiled one"):
        opened(pair.with_name("tiny.tflite"), standin, name="edgetpu")
    for model in (tiny["softmax_uint8"], Path(MODEL)):
        with pytest.raises(ModelError, match="was not compiled for an Edge TPU: `edge-deploy compile` does that"):
            opened(model, standin, name="edgetpu")
        options = BareOptions(labels=str(tiny.labels)) if model.suffix else None
        with opened(model, standin, options) as classifier:
            assert (classifier.ran.backend, classifier.bundle.choice) == ("cpu", None)
    assert not standin.opened


@pytest.mark.parametrize("runtime", ["auto", "edgetpu", "litert"])
def test_a_bundle_brings_its_own_twin(compiled_bundle: Path, standin: Standin, runtime: str) -> None:
    """Both files answer the golden input; the bundle is the same one, whichever of them runs."""
    with opened(compiled_bundle, standin, name=runtime, fallback="cpu") as classifier:
        assert classifier.ran.backend == ("cpu" if runtime == "litert" else STAND_IN)
        assert classifier.bundle.path == compiled_bundle / "model.tflite"
        assert (classifier.bundle.choice is not None) == (runtime == "auto")


def test_a_bundle_without_an_edge_tpu(compiled_bundle: Path, standin: Standin) -> None:
    standin.set(devices="")
    with opened(compiled_bundle, standin) as classifier:
        assert classifier.ran.backend == "cpu"
        assert "none is plugged in" in str(classifier.bundle.choice)
    with pytest.raises(ConfigError, match=r"runtime\.twin is for a bare \.tflite"):
        opened(compiled_bundle, standin, twin="x.tflite")


@pytest.mark.parametrize(
    ("edit", "difference"),
    [
        (lambda tensor: setattr(tensor.quantization, "scale", [0.5]), "its input scale is 0.5, expected 0.00"),
        (lambda tensor: setattr(tensor.quantization, "zeroPoint", [7]), "its input zero point is 7, expected"),
        (lambda tensor: setattr(tensor, "shape", [1, 17, 16, 3]), r"its input shape is \[1, 17, 16, 3\], expected"),
        (lambda tensor: setattr(tensor, "type", 9), "its input dtype is int8, expected uint8"),
        (lambda tensor: setattr(tensor, "quantization", None), "its input scale is None, expected"),
    ],
)
def test_a_twin_that_takes_something_else_is_refused(
    pair: Path, tiny: TinyModels, standin: Standin, edit: Callable[[Any], None], difference: str
) -> None:
    twin = pair.with_name("tiny.tflite")
    twin.write_bytes(edited(twin.read_bytes(), edit))
    options = BareOptions(labels=str(tiny.labels), activation="softmax")
    for settings in ({}, {"name": "edgetpu", "fallback": "cpu"}, {"name": "edgetpu", "twin": str(twin)}):
        with pytest.raises(ModelError, match=f"tiny.tflite is not the uncompiled twin of .*: {difference}"):
            opened(pair, standin, options, **settings)
    with opened(pair, standin, options, name="edgetpu") as classifier:  # which needs no twin
        assert classifier.classify(RED).backend == STAND_IN


def test_a_scale_that_was_written_anew_is_the_same_scale(pair: Path, tiny: TinyModels) -> None:
    def nudge(tensor: Any) -> None:
        tensor.quantization.scale = np.nextafter(tensor.quantization.scale, np.float32(1))

    twin = pair.with_name("tiny.tflite")
    before = tflite_file.read(twin)
    twin.write_bytes(edited(twin.read_bytes(), nudge))
    after = tflite_file.read(twin)
    assert after.inputs != before.inputs
    assert tflite_file.difference(after, before) is None


def test_a_twin_by_another_name(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    options = BareOptions(labels=str(tiny.labels))
    twin = pair.with_name("tiny.tflite").rename(pair.with_name("other.tflite"))
    settings = {"name": "edgetpu", "fallback": "cpu"}
    with pytest.raises(ModelError, match=r"cannot be the fallback .* there is no .*tiny\.tflite"):
        opened(pair, standin, options, **settings)
    with opened(pair, standin, options, **settings, twin=str(twin)) as classifier:
        assert classifier.classify(RED).predictions[0].label == "red"
    renamed = pair.rename(pair.with_name("compiled.tflite"))
    with pytest.raises(ModelError, match="its name does not tell which file is"):
        opened(renamed, standin, options, **settings)
    with pytest.raises(ModelError, match="was compiled for an Edge TPU itself"):
        opened(renamed, standin, options, **settings, twin=str(renamed))
    with pytest.raises(ModelError, match=r"absent\.tflite: No such file"):
        opened(renamed, standin, options, **settings, twin=str(pair.with_name("absent.tflite")))


def test_a_twin_that_crashes_the_cpus_runtime_is_tried_elsewhere_first(
    pair: Path, tiny: TinyModels, standin: Standin
) -> None:
    """Its inputs and outputs are as they were; without the trial it would end this process with SIGSEGV."""
    twin = pair.with_name("tiny.tflite")
    content, chance = bytearray(twin.read_bytes()), random.Random(1230)
    for _ in range(2):
        at = chance.randrange(8, len(content) - 4)
        content[at : at + 4] = chance.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", chance.randbytes(4)])
    twin.write_bytes(content)
    with pytest.raises(ModelError, match=r"tiny\.tflite crashes the TensorFlow Lite runtime"):
        opened(pair, standin, BareOptions(labels=str(tiny.labels)))


def test_what_the_compiled_file_does_not_tell_is_its_twins(tiny: TinyModels, tmp_path: Path, standin: Standin) -> None:
    """Normalization, labels and activation; a compiled file that tells of itself is believed."""
    bare = tiny["softmax_int8"].read_bytes()
    model = made_pair(tmp_path / "pair", bare)
    twin = model.with_name("tiny.tflite")
    for content, error, sentence in (
        (bare, LabelError, "has no labels inside"),
        (None, LabelError, "has no labels inside"),
    ):
        twin.write_bytes(content) if content else twin.unlink()
        with pytest.raises(error, match=sentence):
            opened(model, standin, name="edgetpu")
    with pytest.raises(ConfigError, match="--mean and --std"):
        opened(model, standin, BareOptions(labels=str(tiny.labels)), name="edgetpu")
    with pytest.raises(ConfigError, match=r"--activation .*, or put the file .*, tiny\.tflite, beside it\."):
        opened(model, standin, BareOptions(labels=str(tiny.labels), mean=(127.5,), std=(127.5,)), name="edgetpu")
    twin.write_bytes(packed(bare))
    with opened(model, standin, name="edgetpu") as classifier:
        assert classifier.classify(RED).predictions[0].label == "red"
        assert classifier.input.mean == (127.5,)
        assert classifier.output.activation == "softmax"


@pytest.mark.parametrize(
    ("labels", "difference"),
    [("red\nblue\ngreen\n", "its label 1 is 'blue', expected 'green'"), ("red\ngreen\n", "it has 2 labels inside")],
)
def test_a_twin_with_other_labels_is_refused(
    tiny: TinyModels, tmp_path: Path, standin: Standin, labels: str, difference: str
) -> None:
    bare = tiny["softmax_uint8"].read_bytes()
    model = made_pair(tmp_path / "pair", bare)
    model.write_bytes(packed(model.read_bytes()))
    model.with_name("tiny.tflite").write_bytes(packed(bare, labels))
    with pytest.raises(ModelError, match=difference):
        opened(model, standin)
    model.with_name("tiny.tflite").write_bytes(packed(bare))
    with opened(model, standin) as classifier:
        assert classifier.bundle.labels == ("red", "green", "blue")


def test_a_compiled_file_that_is_damaged_takes_nobody_down(pair: Path, tiny: TinyModels, standin: Standin) -> None:
    pair.write_bytes(pair.read_bytes()[:400])
    with pytest.raises(EdgeError, match=r"tiny_edgetpu\.tflite is a damaged or truncated"):
        opened(pair, standin, BareOptions(labels=str(tiny.labels)))


def test_settings_that_name_no_runtime_are_refused_before_a_model_is_read(standin: Standin) -> None:
    with pytest.raises(ConfigError, match="No runtime 'tpu'"):
        opened(Path("absent.tflite"), standin, name="tpu")


def test_a_bundle_whose_compiled_file_is_not_the_promised_one(compiled_bundle: Path, tiny: TinyModels) -> None:
    import yaml

    from edge.model import bundle as bundles

    contract = compiled_bundle / bundles.CONTRACT_FILE
    document = yaml.safe_load(contract.read_text())
    section = document["edgetpu"]
    (compiled_bundle / "tiny_edgetpu.tflite").write_bytes(compiled(tiny["softmax_uint8"].read_bytes()))
    shutil.copyfile(compiled_bundle / "model.tflite", compiled_bundle / "same.tflite")
    cases = [
        ({"sha256": "0" * 64}, "is not the compiled model of its contract"),
        ({"file": "absent.tflite"}, r"absent\.tflite: No such file"),
        ({"file": "../model.tflite"}, "expected one in the bundle's own folder"),
        ({"file": "same.tflite"}, "was not compiled for an Edge TPU"),
        ({"file": "tiny_edgetpu.tflite"}, r"was compiled from another model: its input shape is \[1, 16, 16, 3\]"),
        ({"surprise": 1}, "unknown field `surprise`"),
    ]
    for changes, sentence in cases:
        changed = {**section, **changes}
        path = compiled_bundle / changed["file"]
        if "file" in changes and path.is_file() and path.parent == compiled_bundle:
            changed["sha256"] = bundles.sha256_of(path)
        contract.write_text(yaml.safe_dump({**document, "edgetpu": changed}))
        with pytest.raises(ModelError, match=sentence):
            bundles.open_bundle(compiled_bundle)
    compiled_alone = {**document, "file": section["file"], "sha256": section["sha256"]}
    contract.write_text(yaml.safe_dump(compiled_alone))
    with pytest.raises(ModelError, match="a bundle's own file is the uncompiled model"):
        bundles.open_bundle(compiled_bundle)


def test_a_list_of_bundles_tells_of_compiled_models(compiled_bundle: Path) -> None:
    from edge.model.inventory import describe

    told = describe(compiled_bundle)
    assert told.problem is None
    assert told.edgetpu is not None
    assert msgspec.to_builtins(told)["edgetpu"]["file"] == "model_edgetpu.tflite"
    assert "for the Edge TPU too: model_edgetpu.tflite, 1 of 1 operators on it" in told.as_text()
    (compiled_bundle / "model_edgetpu.tflite").unlink()
    assert "unusable: Cannot read the model" in describe(compiled_bundle).as_text()
