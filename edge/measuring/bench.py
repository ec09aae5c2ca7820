"""Latency under stated rules: load, first inference, warm-up and steady state apart, and a verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional, Union

import msgspec

from edge import device as devices
from edge.classifier import Classifier
from edge.errors import AcceleratorError, ConfigError
from edge.measuring.timing import CAP_S, Watch, repeat, timed
from edge.model import bundle as bundles
from edge.model.loading import BareOptions, Prepared, open_prepared, prepare
from edge.records import NS_PER_MS, Ran
from edge.runtimes import ConcurrentRuntime, open_runtime, require
from edge.runtimes.edgetpu.words import STAND_IN
from edge.runtimes.settings import RuntimeSettings
from edge.runtimes.trial import require_sound
from edge.stats import Summary, insufficient, minimum_samples, nearest_rank, shown_insufficient, summary, table

# At least one warm-up run and half a second, one second and 50 runs of steady state, at most 150 seconds:
# TensorFlow Lite `benchmark_model`'s defaults. 64 samples instead of 50, the least from which a p90 may be told.
WARMUP_S = 0.5
MINIMUM_S = 1.0
MINIMUM_SAMPLES = minimum_samples(0.9)
_OVERHEAD_RUNS = 2000
_FRAME_PX = (480, 640)


class Rules(msgspec.Struct, frozen=True):
    """How the figures came about."""

    warmup_runs: int
    warmup_s: float
    minimum_samples: int
    minimum_s: float
    """What was asked for, or `cap_s` where that is less."""
    cap_s: float
    overhead_us: float
    """Median duration of an invocation that does nothing, timed in the same way; not subtracted."""
    open_ms: float
    """Reading and checking the model's files, and loading it a second time; not part of `load_ms`."""
    choice: Optional[str]
    """What "auto" chose of an Edge TPU and the CPU, and why; None where it had no choice."""
    frame_px: str
    """Size of the generated picture from which the stages' input is made."""
    stage_samples: int
    """The stages are timed after the steady state, in frames that are classified whole."""
    invoke_in_frames_p50_ms: float
    """invoke() within those frames, where the other stages have used the caches."""
    insufficient: dict[str, dict[str, str]]
    """Why percentiles are null, for "invoke_ms" and "stages_ms"."""


class Result(Ran, frozen=True):
    """What a benchmark found."""

    samples: int
    seconds: float
    """Length of the steady state."""
    load_ms: float
    """Making the interpreter and allocating its tensors, the file in the page cache, Python's imports done. Of an Edge
    TPU: opening it too, as measured in the process that holds it."""
    first_ms: float
    """The first invoke() after that."""
    invoke_ms: Summary
    """The interpreter's invoke() alone, one after the other; of an Edge TPU, from handing the input over to its process
    to having the output."""
    stages_ms: dict[str, Summary]
    """Preprocess and postprocess of whole frames."""
    device: dict[str, Any]
    """The board before the run, and under "during" what its sensors said in the run."""
    rules: Rules
    valid: bool
    why_invalid: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The result as one JSON object."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def bench(
    model: str,
    *,
    runtime: Union[str, RuntimeSettings] = "auto",
    threads: Optional[int] = None,
    options: Optional[BareOptions] = None,
    seconds: float = 10.0,
    root: Path = devices.ROOT,
) -> Result:
    """Measure a model on a runtime.

    Args:
        model: a bundle's name or folder, or a .tflite file.
        runtime: a runtime's name, or all that can be said about running.
        threads: of the interpreter; None for the settings' own.
        options: what a bare file cannot tell.
        seconds: least length of the steady state, more than 0; the whole takes half as long again.
        root: where the sensors are found, see `edge.device.read`.

    Raises:
        ConfigError: `seconds` is not more than 0.
        ModelError: the bundle fails its golden input.
        AcceleratorError: the CPU answered while the Edge TPU was to be measured.
        EdgeError: what `edge.model.loading.open_model` raises.
    """
    if not seconds > 0:
        raise ConfigError(f"A steady state of {seconds} seconds was asked for: expected more than 0.")
    settings = RuntimeSettings.of(runtime, threads)
    device = devices.read(root).as_json()
    preparing_ns = time.monotonic_ns()
    prepared = prepare(model, settings, options)
    prepared_ns = time.monotonic_ns()
    load_ns, first_ns = _first_use(prepared, settings)
    opening_ns = time.monotonic_ns()
    with Classifier(*open_prepared(prepared, settings, options)) as classifier:
        open_ns = time.monotonic_ns() - opening_ns + prepared_ns - preparing_ns
        frame = bundles.golden_picture(0, *_FRAME_PX)
        classifier.classify(frame)  # the input that invoke() is timed with

        warmup_ns: list[int] = []
        warmup_s = repeat(_own(classifier, timed(classifier.runtime.invoke, warmup_ns)), WARMUP_S, 1)
        faults = _faults(classifier)
        watch = Watch(root)
        asked_s = min(seconds, CAP_S)
        samples_ns: list[int] = []
        step = _own(classifier, timed(classifier.runtime.invoke, samples_ns))
        steady_s = repeat(step, asked_s, MINIMUM_SAMPLES, watch)
        stages_ns = _stages(classifier, frame, asked_s / 2, watch)
        watch.look()
        during = watch.during()
        overhead_ns: list[int] = []
        null = timed(_nothing, overhead_ns)
        for _ in range(_OVERHEAD_RUNS):
            null()
        classifier.check_golden()
        why_invalid = (
            *_why_invalid(len(samples_ns), steady_s, during),
            *_why_no_edgetpu(classifier.runtime.backend, _faults(classifier) - faults),
        )
        stage_samples = len(stages_ns["invoke"])
        return Result(
            **msgspec.structs.asdict(classifier.ran),
            samples=len(samples_ns),
            seconds=round(steady_s, 3),
            load_ms=_ms(load_ns),
            first_ms=_ms(first_ns),
            invoke_ms=summary(samples_ns),
            stages_ms={stage: summary(stages_ns[stage]) for stage in ("preprocess", "postprocess")},
            device={**device, "during": during},
            rules=Rules(
                warmup_runs=len(warmup_ns),
                warmup_s=round(warmup_s, 3),
                minimum_samples=MINIMUM_SAMPLES,
                minimum_s=asked_s,
                cap_s=CAP_S,
                overhead_us=nearest_rank(overhead_ns, 0.5) / 1000,
                open_ms=_ms(open_ns),
                choice=prepared.planned.choice,
                frame_px=f"{_FRAME_PX[1]}x{_FRAME_PX[0]}",
                stage_samples=stage_samples,
                invoke_in_frames_p50_ms=_ms(nearest_rank(stages_ns["invoke"], 0.5)),
                insufficient={"invoke_ms": insufficient(len(samples_ns)), "stages_ms": insufficient(stage_samples)},
            ),
            valid=not why_invalid,
            why_invalid=why_invalid,
        )


def text_of(result: Result) -> str:
    """The result for a person."""
    lines = [
        result.title(),
        *([result.rules.choice] if result.rules.choice else []),
        _device_line(result.device),
        f"load {result.load_ms:.2f} ms, first inference {result.first_ms:.2f} ms, then {result.samples} samples "
        f"in {result.seconds:.1f} s",
        *table({"invoke": result.invoke_ms, **result.stages_ms}),
    ]
    for what, reasons in result.rules.insufficient.items():
        if shown := shown_insufficient(reasons):
            lines.append(f"{what.partition('_')[0]}: {shown}")
    load, processors = result.device.get("load_1min"), result.device.get("processors")
    if load and processors and load > processors:
        lines.append(f"note: the machine was busy before the run, load {load:.1f} on {processors} processors")
    lines.append(
        "valid: long enough and not throttled" if result.valid else "INVALID: " + "; ".join(result.why_invalid)
    )
    return "\n".join(lines)


def _device_line(device: dict[str, Any]) -> str:
    during = device.get("during", {})
    parts = [device.get("model") or device.get("cpu"), device.get("machine"), device.get("os")]
    parts.append(f"governor {device['governor']}" if "governor" in device else None)
    for name, unit in (("clock_mhz", "MHz"), ("temperature_c", "°C")):
        if name in during:
            parts.append(f"{during[name]['min']:.0f} to {during[name]['max']:.0f} {unit}")
    return ", ".join(part for part in parts if part)


def _first_use(prepared: Prepared, settings: RuntimeSettings) -> tuple[int, int]:
    """Nanoseconds of loading a model and of its first invoke(), before anything has warmed the process up."""
    planned = prepared.planned
    if planned.edgetpu:
        from edge.runtimes.edgetpu.tryout import try_out

        trial = try_out(planned.edgetpu, settings, verbosity=0)
        if trial.open_ms is None or trial.first_ms is None:
            raise AcceleratorError(f"{planned.edgetpu} cannot be measured. {trial.why}")
        return round(trial.open_ms * NS_PER_MS), round(trial.first_ms * NS_PER_MS)
    path = planned.cpu
    assert path is not None  # a plan names one of the two
    if not prepared.files.trusted:
        require_sound(planned.runtime, path.resolve())
    bundles.sha256_of(path)  # brings the file into the page cache
    require(planned.runtime)  # so that Python's import is not taken for the model's load
    loading_ns = time.monotonic_ns()
    opened = open_runtime(planned.runtime, path, settings.threads)
    invoking_ns = time.monotonic_ns()
    opened.invoke()
    done_ns = time.monotonic_ns()
    opened.close()
    return invoking_ns - loading_ns, done_ns - invoking_ns


def _own(classifier: Classifier, run: Callable[[], None]) -> Callable[[], None]:
    """A step after which it is made sure that the CPU did not answer in an Edge TPU's place."""
    runtime = classifier.runtime

    def step() -> None:
        run()
        if runtime.answered_by != runtime.backend:
            lost = f" {runtime.lost}" if isinstance(runtime, ConcurrentRuntime) and runtime.lost else ""
            raise AcceleratorError(
                f"The CPU answered in place of the Edge TPU, and figures of both together mean nothing: see "
                f"`edge doctor`, or measure the CPU with --runtime litert.{lost}"
            )

    return step


def _nothing() -> None:
    pass


def _stages(classifier: Classifier, frame: Any, seconds: float, watch: Watch) -> dict[str, list[int]]:
    """Nanoseconds of each stage of frames that are classified whole."""
    samples_ns: dict[str, list[int]] = {"preprocess": [], "invoke": [], "postprocess": []}

    def step() -> None:
        timings = classifier.classify(frame).timings
        samples_ns["preprocess"].append(timings.preprocess_ns)
        samples_ns["invoke"].append(timings.invoke_ns)
        samples_ns["postprocess"].append(timings.postprocess_ns)

    repeat(_own(classifier, step), seconds, MINIMUM_SAMPLES, watch)
    return samples_ns


def _why_invalid(samples: int, steady_s: float, during: dict[str, Any]) -> tuple[str, ...]:
    reasons = []
    if samples < MINIMUM_SAMPLES or steady_s < MINIMUM_S:
        reasons.append(
            f"too short: {samples} samples in {steady_s:.2f} s, expected at least {MINIMUM_SAMPLES} in {MINIMUM_S:g} s"
        )
    if during.get("throttled"):
        reasons.append(f"the board was held back during the run: {', '.join(during['throttled'])}")
    return tuple(reasons)


def _faults(classifier: Classifier) -> int:
    """Failures of Edge TPUs so far."""
    runtime = classifier.runtime
    return runtime.faults if isinstance(runtime, ConcurrentRuntime) else 0


def _why_no_edgetpu(backend: str, faults: int) -> Iterator[str]:
    """Why figures are not those of an Edge TPU that works."""
    if backend == STAND_IN:
        yield "a stand-in for an Edge TPU ran the model on the CPU: its times tell nothing"
    if faults:
        yield f"failures of the Edge TPU during the run: {faults}"


def _ms(value_ns: int) -> float:
    return round(value_ns / NS_PER_MS, 3)
