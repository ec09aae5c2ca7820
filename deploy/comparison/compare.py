"""Trains, converts, verifies and measures several backbones on the same pictures: which one to take, in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, TypeVar, get_args

import msgspec

from deploy import files
from deploy.backbones import backbone, weights
from deploy.comparison import apart, steps
from deploy.comparison import report as comparison_report
from deploy.comparison.records import Comparison, Kind, Line, Trial
from deploy.conversion import bundles, convert
from deploy.inspection import inspect
from deploy.pictures.folders import class_pictures
from deploy.training import report as reports
from deploy.training import settings as training_settings
from deploy.training import train
from deploy.training.train import MODEL_FILE, Progress, Settings
from edge.errors import ConfigError, EdgeError
from edge.runtimes import default_threads

_RECIPES = {"float32": "float32", "int8": "static_wi8_ai8"}
_UNTRAINED_CALIBRATION = 20  # random weights have no accuracy to lose

_Made = TypeVar("_Made")


class Entry(NamedTuple):
    """One line of the table."""

    backbone: str
    kind: Kind

    @property
    def name(self) -> str:
        """As it was asked for."""
        return self.backbone if self.kind == "head" else f"{self.backbone}:{self.kind}"


class Request(msgspec.Struct, frozen=True):
    """What to compare."""

    entries: tuple[Entry, ...]
    settings: Settings
    """For all of them; backbone, mode and weights are each entry's own."""
    weights: dict[str, str]
    """Files of pretrained weights by backbone."""
    seeds: int
    """Each model is trained on so many seeded splits, from `settings.seed` on; the table has the means of their
    accuracies, and all else of the first."""
    out: Path
    cache: Optional[Path] = None
    calibration_images: int = 200


class _Asked(msgspec.Struct, frozen=True):
    """What decides the results in one folder."""

    settings: Settings
    calibration_images: int


def entry(text: str, kind: Kind) -> Entry:
    """What `NAME`, `NAME:head`, `NAME:finetune` or `NAME:random` asks for; `kind` goes with a name alone.

    Raises:
        ConfigError: it is none of these.
    """
    name, colon, told = text.strip().partition(":")
    kinds: dict[str, Kind] = {known: known for known in get_args(Kind)}
    if colon and told not in kinds:
        raise ConfigError(f"{text} asks for {told!r}: expected a backbone's name alone, or with :{', :'.join(kinds)}.")
    return Entry(backbone(name).name, kinds[told] if colon else kind)


def compare(request: Request, progress: Progress) -> Comparison:
    """Do all that is not done yet, then measure the latencies and write the result.

    Each training, conversion and measurement has a process of its own.

    Args:
        request: what to compare.
        progress: is told how far it is; is pickled for the other processes.

    Raises:
        EdgeError: the request cannot be carried out, or a step failed, and the sentence begins with the model.
        KeyboardInterrupt: it was interrupted; what is finished is kept.
    """
    _check(request)
    classes = tuple(class_pictures(Path(request.settings.data[0])))
    lines, histories = [], {}
    for place, asked in enumerate(request.entries, start=1):
        progress.step(f"{asked.name}, {place} of {len(request.entries)}")
        if asked.kind == "random":
            lines.append(_untrained(request, asked, classes, progress))
        else:
            first = request.settings.seed
            trials = tuple(_trial(request, asked, first + more, progress) for more in range(request.seeds))
            lines.append(_line(request, asked, trials))
            histories[asked.name] = reports.read_history(_folder(request, asked) / "training")
    progress.step("measuring latency")
    measured = apart.run(steps.latencies, {asked.name: _files(request, asked) for asked in request.entries}, progress)
    result = Comparison(
        data=Path(request.settings.data[0]).resolve().name,
        classes=classes,
        settings=_common(request.settings),
        calibration_images=request.calibration_images,
        seeds=request.seeds,
        threads=default_threads(),
        machine=comparison_report.machine(),
        versions=comparison_report.versions(),
        date=comparison_report.today(),
        lines=tuple(msgspec.structs.replace(line, latency_ms=measured[line.name]) for line in lines),
    )
    comparison_report.write(request.out, result, histories)
    return result


def _check(request: Request) -> None:
    """Refuse what can be known to fail before hours of work are done."""
    training_settings.check(request.settings)
    twice = [name for name, count in Counter(asked.name for asked in request.entries).items() if count > 1]
    if twice:
        raise ConfigError(f"{twice[0]} was given twice: expected each backbone once, or once of each kind.")
    trained = [asked.backbone for asked in request.entries if asked.kind != "random"]
    for name, given in request.weights.items():
        if name not in trained:
            raise ConfigError(f"--weights {name}={given} was given, and --backbones trains no {name}.")
        if not Path(given).is_file():
            raise ConfigError(f"--weights {name}={given} was given: expected a file; or compare {name}:random.")


def _common(settings: Settings) -> dict[str, Any]:
    """Those of the settings that all trainings share."""
    own = ("backbone", "mode", "weights", "seed")
    return {name: value for name, value in msgspec.to_builtins(settings).items() if name not in own}


def _folder(request: Request, asked: Entry, seed: Optional[int] = None) -> Path:
    """Of one seed's results, of the first when none is told."""
    return request.out / asked.name.replace(":", "-") / f"seed{request.settings.seed if seed is None else seed}"


def _of_model(asked: Entry, function: Callable[..., _Made], *arguments: Any) -> _Made:
    """Call a function in a process of its own; its errors begin with the model's name."""
    try:
        return apart.run(function, *arguments)
    except EdgeError as error:
        raise type(error)(f"{asked.name}: {error}") from None
    except OSError as error:
        raise ConfigError(f"{asked.name}: {error}.") from None


def _claim(request: Request, asked: Entry, seed: int) -> tuple[Path, _Asked]:
    """The folder of one model and seed; what is in it was asked for with the same settings."""
    settings = msgspec.structs.replace(
        request.settings,
        backbone=asked.backbone,
        mode="finetune" if asked.kind == "finetune" else "head",
        weights=weights.RANDOM if asked.kind == "random" else request.weights.get(asked.backbone),
        seed=seed,
    )
    calibration_images = request.calibration_images
    if asked.kind == "random":
        calibration_images = min(calibration_images, _UNTRAINED_CALIBRATION)
    wanted, folder = _Asked(settings, calibration_images), _folder(request, asked, seed)
    path, content = folder / "asked.json", msgspec.json.format(msgspec.json.encode(wanted))
    if not path.exists():
        files.write(path, content)
    elif path.read_bytes() != content:
        raise ConfigError(
            f"{folder} was made with other settings (see {path}): repeat them, give another --out, or delete it."
        )
    return folder, wanted


def _trial(request: Request, asked: Entry, seed: int, progress: Progress) -> Trial:
    """Train, convert and verify with one seed, as far as that is not done."""
    progress.step(f"{asked.name}, seed {seed}")
    folder, wanted = _claim(request, asked, seed)
    training, done = folder / "training", folder / "trial.json"
    if not reports.is_finished(training):
        _of_model(asked, train.train, wanted.settings, training, request.cache, progress)
    paths = _converted(asked, folder, wanted, progress)
    if not _is_newer(done, paths):
        trial = _of_model(asked, steps.accuracies, seed, folder, Path(wanted.settings.data[0]), progress)
        files.write(done, msgspec.json.format(msgspec.json.encode(trial)))
    return msgspec.json.decode(done.read_bytes(), type=Trial)


def _converted(asked: Entry, folder: Path, wanted: _Asked, progress: Progress) -> list[Path]:
    """Convert the .keras file to both bundles; gives what their contracts are written beside."""
    model = folder / "training" / MODEL_FILE
    paths = []
    for form, recipe in _RECIPES.items():
        request = convert.Request(
            model=model,
            out=folder / form,
            recipe=recipe,
            calibrate=Path(wanted.settings.data[0]),
            calibration_images=wanted.calibration_images,
        )
        paths.append(request.out / bundles.MODEL_FILE)
        if not _is_newer(paths[-1], [model]):
            _of_model(asked, steps.to_bundle, request, progress)
    return paths


def _is_newer(path: Path, sources: Iterable[Path]) -> bool:
    return path.exists() and all(path.stat().st_mtime_ns >= source.stat().st_mtime_ns for source in sources)


def _line(request: Request, asked: Entry, trials: tuple[Trial, ...]) -> Line:
    metrics = reports.read(_folder(request, asked) / "training")
    return msgspec.structs.replace(
        _measured(request, asked, metrics.weights),
        trials=trials,
        training_seconds=metrics.seconds["all"],
        features_seconds=metrics.seconds.get("features"),
        peak_memory_bytes=metrics.peak_memory_bytes,
    )


def _untrained(request: Request, asked: Entry, classes: tuple[str, ...], progress: Progress) -> Line:
    """Structure, sizes and latency of a backbone whose weights are not at hand."""
    folder, wanted = _claim(request, asked, request.settings.seed)
    model = folder / "training" / MODEL_FILE
    if not model.exists():
        progress.step(f"building {asked.backbone} with random weights")
        _of_model(asked, steps.save_untrained, model, wanted.settings, classes)
    _converted(asked, folder, wanted, progress)
    return _measured(request, asked, weights.RANDOM)


def _measured(request: Request, asked: Entry, origin: str) -> Line:
    paths = _files(request, asked)
    facts = inspect.inspect(paths["float32"])
    return Line(
        name=asked.name,
        backbone=asked.backbone,
        kind=asked.kind,
        weights=origin,
        parameters=facts.parameters,
        macs=facts.macs,
        bytes={form: path.stat().st_size for form, path in paths.items()},
        trials=(),
        training_seconds=None,
        features_seconds=None,
        peak_memory_bytes=None,
    )


def _files(request: Request, asked: Entry) -> dict[str, Path]:
    """The file of each form, of the first seed."""
    folder = _folder(request, asked)
    return {
        "keras": folder / "training" / MODEL_FILE,
        **{form: folder / form / bundles.MODEL_FILE for form in _RECIPES},
    }
