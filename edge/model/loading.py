"""Opens a model on a runtime with everything checked: a bundle against its contract, a bare file against the flags."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, Optional, cast

import msgspec
from msgspec import Meta

from edge import labels as label_files
from edge.errors import ConfigError, EdgeError, LabelError, ModelError
from edge.model import bundle as bundles
from edge.model import tflite_file, twins
from edge.model.bundle import Bundle
from edge.model.choosing import Files, Plan, open_planned, plan
from edge.model.tflite_file import TfliteFile
from edge.model.twins import Twin
from edge.runtimes import Runtime, TensorDetails, require_name
from edge.runtimes.settings import RuntimeSettings
from edge.tensors import Activation, DTypeName, InputSpec, Interpolation, OutputSpec, Resize

_LEAST_CROP = 0.001
_DTYPES = ("uint8", "int8", "float32")
_SCALE_TOLERANCE = 1e-6  # relative; YAML keeps a float32 scale as its shortest decimal


class BareOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bare .tflite cannot tell by itself. None: not given."""

    labels: Optional[str] = None
    """Path of the label file."""
    background: Optional[bool] = None
    """True: output 0 is a background class; the label file may leave it out."""
    mean: Optional[tuple[Annotated[float, Meta(ge=-1e9, le=1e9)], ...]] = None
    std: Optional[tuple[Annotated[float, Meta(ge=1e-9, le=1e9)], ...]] = None
    """value = (pixel - mean) / std, one number or one for each of R, G, B."""
    resize: Optional[Resize] = None
    """How a frame is brought to the model's size; "crop" when not given."""
    crop_fraction: Optional[Annotated[float, Meta(ge=_LEAST_CROP, le=1)]] = None
    """Side of the centre crop as a fraction of the largest that fits; 1 when not given."""
    interpolation: Optional[Interpolation] = None
    """"bilinear" when not given."""
    activation: Optional[Activation] = None
    """What the outputs are, where the file's last operator does not tell."""


class Prepared(NamedTuple):
    """A model whose files are read and checked, and what is to be opened of it."""

    bundle: Bundle
    files: Files
    planned: Plan


def open_model(
    model: str, settings: Optional[RuntimeSettings] = None, options: Optional[BareOptions] = None
) -> tuple[Bundle, Runtime]:
    """Open a bundle (by name or folder) or a bare .tflite.

    Returns:
        The bundle with complete input and output specifications, and the runtime that has it loaded.

    Raises:
        ModelError, LabelError: the model, its labels or its contract cannot be used.
        RuntimeUnavailableError: the runtime is not there; as AcceleratorError, no Edge TPU can be opened.
        ConfigError: an option is missing, impossible, or not for this kind of model.
    """
    settings = settings or RuntimeSettings()
    return open_prepared(prepare(model, settings, options), settings, options)


def prepare(
    model: str, settings: RuntimeSettings, options: Optional[BareOptions] = None, look: bool = True
) -> Prepared:
    """Read what `open_model` opens; no runtime sees it yet.

    Args:
        model: as for `open_model`.
        settings: as for `open_model`.
        options: as for `open_model`.
        look: False: do not look for Edge TPUs; see `edge.model.choosing.plan`.

    Raises:
        EdgeError: see `open_model`.
    """
    options = options or BareOptions()
    require_name(settings.name)
    path = bundles.locate(model)
    if path.is_dir():
        bundle = _open_folder(path, settings, options)
        files = Files(bundle.path, bundle.compiled, bundle.path, trusted=True)
        return Prepared(bundle, files, plan(files, settings, look))
    facts = tflite_file.read(path)
    twin = _twin(path, facts, settings) if facts.edgetpu else None
    uncompiled = path if not facts.edgetpu else twin.path if twin else None
    files = Files(path, path if facts.edgetpu else None, uncompiled, trusted=False)
    planned = plan(files, settings, look)
    bundle = _open_bare(path, facts, twin, options)
    if planned.edgetpu and facts.inputs and facts.outputs:  # before it takes seconds to open
        _check_shape(path, facts.inputs, facts.outputs)
        _complete_bare(bundle, facts.inputs[0], facts.outputs[0], options)
    return Prepared(bundle, files, planned)


def open_prepared(
    prepared: Prepared, settings: RuntimeSettings, options: Optional[BareOptions] = None
) -> tuple[Bundle, Runtime]:
    """Open on its runtime what was prepared with the same settings and options; see `open_model`."""
    bundle, files, planned = prepared
    opened = open_planned(planned, files, settings)
    try:
        inputs, outputs = opened.input_details, opened.output_details
        _check_shape(bundle.path, inputs, outputs)
        if bundle.contract:
            _check_contract(bundle.contract, opened)
        else:
            bundle = _complete_bare(bundle, inputs[0], outputs[0], options or BareOptions())
        return msgspec.structs.replace(bundle, choice=planned.choice), opened
    except Exception:
        opened.close()
        raise


def _open_folder(folder: Path, settings: RuntimeSettings, options: BareOptions) -> Bundle:
    given = [f"--{name.replace('_', '-')}" for name in options.__struct_fields__ if getattr(options, name) is not None]
    given += ["runtime.twin"] if settings.twin else []
    bundle = bundles.open_bundle(folder)
    if given:
        raise ConfigError(f"{given[0]} is for a bare .tflite: the bundle {bundle.name} brings its own.")
    return bundle


def _twin(path: Path, facts: TfliteFile, settings: RuntimeSettings) -> Optional[Twin]:
    """The twin of a compiled file. One that only lies beside it and is not needed may be another model's."""
    try:
        return twins.find(path, facts, settings.twin)
    except ModelError:
        if settings.twin or settings.name == "auto" or settings.fallback:
            raise
        return None


def _open_bare(path: Path, facts: TfliteFile, twin: Optional[Twin], options: BareOptions) -> Bundle:
    packed = tflite_file.packed_labels(path) or (twin.labels if twin else None)
    if options.labels:
        names = label_files.read(Path(options.labels))
    elif packed is not None:
        names = label_files.parse(packed, f"the label file inside {path}")
    else:
        raise LabelError(f"{path} has no labels inside: give its label file with --labels.")
    compiled = path if facts.edgetpu else None
    if twin:  # which still has what the compiler left out
        normalized = facts if facts.mean else twin.facts
        activation = facts.activation or twin.facts.activation
        facts = facts._replace(activation=activation, mean=normalized.mean, std=normalized.std)
    return Bundle(path.stem, path, bundles.sha256_of(path), None, None, names, facts, None, compiled)


def _check_shape(path: Path, inputs: Sequence[TensorDetails], outputs: Sequence[TensorDetails]) -> None:
    """A classifier has one image input and one output with a number for each class."""
    if len(outputs) != 1:
        names = ", ".join(detail.name for detail in outputs)
        raise ModelError(
            f"{path} has {len(outputs)} outputs ({names}), as a detector does: expected a classifier with one output."
        )
    given = inputs[0]
    if len(inputs) != 1 or len(given.shape) != 4 or given.shape[0] != 1 or given.shape[3] != 3 or min(given.shape) < 1:
        shapes = ", ".join(f"{detail.name} {list(detail.shape)}" for detail in inputs)
        raise ModelError(
            f"{path} takes no RGB image: its input is {shapes}, expected one of shape [1, height, width, 3]."
        )
    if given.shape[1] < 8 or given.shape[2] < 8:
        raise ModelError(
            f"{path} has no fixed input size ({list(given.shape)}): convert it with a fixed height and width."
        )
    shape = outputs[0].shape
    if sum(size != 1 for size in shape) > 1 or max(shape, default=0) < 2:
        raise ModelError(
            f"{path} is no classifier: its output is {list(shape)}, expected one number for each of 2 or more classes."
        )
    for what, detail in (("input", given), ("output", outputs[0])):
        if detail.dtype not in _DTYPES:
            raise ModelError(f"{path} has {detail.dtype} {what}s: expected {', '.join(_DTYPES)}.")
        if detail.dtype != "float32" and not (detail.scale and 0 < detail.scale < math.inf):
            raise ModelError(
                f"{path} has {detail.dtype} {what}s with the quantization scale {detail.scale}: convert it again."
            )


def _check_contract(contract: bundles.Contract, runtime: Runtime) -> None:
    given, expected = runtime.input_details[0], contract.input
    _compare(contract, "input height", given.shape[1], expected.height_px)
    _compare(contract, "input width", given.shape[2], expected.width_px)
    _compare_quantization(contract, "input", given, expected)
    if contract.output.background_offset not in (0, 1):
        raise ModelError(f"{contract.name}: background_offset is {contract.output.background_offset}, expected 0 or 1.")
    output = runtime.output_details[0]
    _compare(contract, "number of outputs", max(output.shape), contract.output.classes)
    _compare_quantization(contract, "output", output, contract.output)
    _check_values(contract.input, contract.name, ModelError)


def _compare_quantization(
    contract: bundles.Contract, what: str, given: TensorDetails, expected: InputSpec | OutputSpec
) -> None:
    _compare(contract, f"{what} dtype", given.dtype, expected.dtype)
    scales_differ = (given.scale is None) != (expected.scale is None)
    if given.scale is not None and expected.scale is not None:
        scales_differ = not abs(given.scale - expected.scale) <= _SCALE_TOLERANCE * given.scale  # also NaN differs
    if scales_differ:
        _compare(contract, f"{what} scale", given.scale, expected.scale)
    _compare(contract, f"{what} zero point", given.zero_point, expected.zero_point)


def _compare(contract: bundles.Contract, what: str, given: object, expected: object) -> None:
    if given != expected:
        raise ModelError(
            f"The bundle {contract.name} does not keep its contract: {what} of {contract.file} is {given}, "
            f"{bundles.CONTRACT_FILE} says {expected}; restore the bundle's own files."
        )


def _complete_bare(bundle: Bundle, given: TensorDetails, output: TensorDetails, options: BareOptions) -> Bundle:
    mean, std = _normalization(bundle, given, options)
    classes = max(output.shape)
    names, offset = label_files.fit(bundle.labels, classes, options.background, options.labels or f"{bundle.path}")
    activation = options.activation or cast(Optional[Activation], bundle.facts.activation)
    if activation is None:
        place = twins.place(bundle.path)
        beside = f", or put the file that it was compiled from, {place.name}, beside it"
        raise ConfigError(
            f"{bundle.path} does not tell what its outputs are: say --activation softmax, sigmoid or logits"
            f"{beside if bundle.compiled and not place.exists() else ''}."
        )
    spec = InputSpec(
        height_px=given.shape[1],
        width_px=given.shape[2],
        dtype=cast(DTypeName, given.dtype),
        mean=mean,
        std=std,
        scale=given.scale if given.dtype != "float32" else None,
        zero_point=given.zero_point if given.dtype != "float32" else None,
        resize=options.resize or "crop",
        crop_fraction=1.0 if options.crop_fraction is None else options.crop_fraction,
        interpolation=options.interpolation or "bilinear",
    )
    _check_values(spec, str(bundle.path), ConfigError)
    return msgspec.structs.replace(
        bundle,
        input=spec,
        output=OutputSpec(
            classes=classes,
            dtype=cast(DTypeName, output.dtype),
            activation=activation,
            scale=output.scale if output.dtype != "float32" else None,
            zero_point=output.zero_point if output.dtype != "float32" else None,
            background_offset=offset,
        ),
        labels=names,
    )


def _normalization(
    bundle: Bundle, given: TensorDetails, options: BareOptions
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std by the flags; else a uint8 input takes the pixel itself; else by the file's TFLite metadata."""
    mean, std = options.mean, options.std
    if (mean is None) != (std is None):
        here, missing = ("--mean", "--std") if std is None else ("--std", "--mean")
        raise ConfigError(f"{here} was given without {missing}: value = (pixel - mean) / std needs both.")
    if mean is None and given.dtype == "uint8" and given.scale is not None and given.zero_point is not None:
        # The normalization that the input's own quantization undoes. TFLite's other readers do so too, metadata or not.
        mean, std = (float(given.zero_point),), (1.0 / given.scale,)
    elif mean is None:
        mean, std = bundle.facts.mean, bundle.facts.std
    if mean is None or std is None:
        raise ConfigError(
            f"{bundle.path} has {given.dtype} inputs and does not tell its normalization: give --mean and --std as it "
            "was trained, for example --mean 127.5 --std 127.5 for pixels in [-1, 1] or --mean 0 --std 255 for [0, 1]."
        )
    return mean, std


def _check_values(spec: InputSpec, source: str, error: type[EdgeError]) -> None:
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (1, 3):
            raise error(f"{source}: {name} has {len(values)} values, expected one or one for each of R, G, B.")
        if not all(map(math.isfinite, values)):
            raise error(f"{source}: {name} is {list(values)}, expected finite numbers.")
    if min(spec.std) <= 0:
        raise error(f"{source}: std is {min(spec.std)}, expected more than 0.")
    if not _LEAST_CROP <= spec.crop_fraction <= 1:
        raise error(f"{source}: the crop fraction is {spec.crop_fraction}, expected {_LEAST_CROP} to 1.")
