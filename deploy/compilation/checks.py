"""What an Edge TPU cannot run, told before the compiler is, and what the compiler wrote, held against its twin."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.compilation import log
from deploy.inspection.graph import is_dynamic
from deploy.inspection.inspect import Facts
from edge.errors import ModelError
from edge.model import tflite_file
from edge.model.tflite_file import TfliteFile

ALLOW = "--allow-cpu-operators"
_RECIPE = (
    "`edge-deploy convert MODEL.keras --recipe static_wi8_ai8 --calibrate PICTURES --out FOLDER` makes one that is"
)
_INTEGERS = ("int8", "uint8")
_MOST_PLACES = 8


def require_fit(facts: Facts, name: str, allow_cpu_operators: bool) -> None:
    """Refuse what cannot be compiled, and what would run on the CPU in part unless that is allowed.

    Args:
        facts: of the model, from `deploy.inspection.inspect`.
        name: what to call it.
        allow_cpu_operators: let the compiler decide about single operators.

    Raises:
        ModelError: says what stands against it and what to change.
    """
    if facts.edgetpu.compiled:
        raise ModelError(f"{name} is compiled for an Edge TPU already: give the .tflite file that it was made of.")
    if facts.edgetpu.graphs > 1:
        raise ModelError(
            f"{name} has {facts.edgetpu.graphs} graphs, and an Edge TPU takes one: convert it without loops, branches "
            "and further signatures."
        )
    ports = [("input", port) for port in facts.inputs] + [("output", port) for port in facts.outputs]
    for kind, port in ports:
        if is_dynamic(port.tensor.shape, port.signature):
            sizes = ", ".join("any" if size < 0 else str(size) for size in port.signature)
            raise ModelError(
                f"{name} has the {kind} [{sizes}], and an Edge TPU needs fixed sizes: convert it again with all sizes "
                "given, with one picture at a time."
            )
    problems = facts.edgetpu.problems
    if not problems or (allow_cpu_operators and len(problems) < facts.total.operators):
        return
    if _not_integer(facts):
        raise ModelError(
            f"{name} is not in full integer ({_dtypes(facts)}), and an Edge TPU computes in it: {_RECIPE}."
        )
    told = _told((problem.operator, problem.reason, problem.index) for problem in problems)
    ways = "convert it with `edge-deploy convert`, or change the network"
    if len(problems) < facts.total.operators:
        ways += f", or let the compiler try with {ALLOW}"
    raise ModelError(
        f"{name} has {len(problems)} of {facts.total.operators} operators that would stay on the CPU, by Coral's list: "
        f"{told}; {ways}."
    )


def require_twin(
    model: TfliteFile, compiled: TfliteFile, said: log.Log, name: str, program: str, allow_cpu_operators: bool
) -> None:
    """Refuse what the compiler wrote where it is not the same model for an Edge TPU.

    Args:
        model: what it was made of.
        compiled: what the compiler wrote.
        said: the compiler's log.
        name: what to call the model.
        program: what to call the compiler.
        allow_cpu_operators: as the user said.

    Raises:
        ModelError: says what is wrong with it.
    """
    on_tpu, on_cpu = said.tpu_operators, said.cpu_operators
    if on_tpu is None or on_cpu is None:
        raise ModelError(
            f"{program} does not tell how many operators of {name} it put onto the Edge TPU: expected a log as that of "
            "version 16.0."
        )
    left = log.on_cpu(said.operators) or f"{on_cpu} operators"
    if on_tpu == 0 or not compiled.edgetpu:
        raise ModelError(f"{program} put nothing of {name} onto the Edge TPU, and leaves to the CPU: {left}.")
    if on_cpu and not allow_cpu_operators:
        raise ModelError(
            f"{program} leaves {on_cpu} of {on_tpu + on_cpu} operators of {name} to the CPU: {left}; change the "
            f"network, or keep it so with {ALLOW}."
        )
    difference = tflite_file.difference(compiled, model)
    if difference:
        raise ModelError(f"What {program} made of {name} cannot stand for it: {difference}.")


def _not_integer(facts: Facts) -> bool:
    values = (row for row in facts.quantization if row.kind in ("input", "output", "activations"))
    return any(row.dtype not in _INTEGERS for row in values)


def _dtypes(facts: Facts) -> str:
    """Which of its values are of which type."""
    kinds: dict[str, list[str]] = {}
    for row in facts.quantization:
        if row.kind in ("input", "output", "activations", "convolution weights", "dense weights"):
            kinds.setdefault(row.kind, []).append(row.dtype)
    return ", ".join(f"{kind}: {' and '.join(dict.fromkeys(dtypes))}" for kind, dtypes in kinds.items())


def _told(problems: Iterable[tuple[str, str, int]]) -> str:
    groups: dict[tuple[str, str], list[str]] = {}
    for operator, reason, index in problems:
        groups.setdefault((log.plain(operator), reason), []).append(str(index))
    return "; ".join(
        f"{operator} {reason} (at {', '.join(places[:_MOST_PLACES])}{', …' if len(places) > _MOST_PLACES else ''})"
        for (operator, reason), places in groups.items()
    )
