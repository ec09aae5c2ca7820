"""The subcommand `edge-deploy inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.commands import as_json, reported

if TYPE_CHECKING:
    from deploy.inspection.inspect import Costs, Facts, Port

_MOST_PLACES = 8


@click.command()
@click.argument("model", metavar="FILE.tflite")
@click.option("--json", "json", is_flag=True, help="Print one JSON document, with every place.")
@reported
def inspect(model: str, json: bool) -> None:
    """Tell what a model is made of, and what slows it down.

    Operators, parameters, multiply-accumulates (MACs), quantization, what an Edge TPU would not take, and where it has
    what EfficientNet-Lite leaves out. Any .tflite file, a bundle's folder or a bundle's name.
    """
    from deploy.inspection import inspect as inspector
    from edge.model import bundle

    path = bundle.locate(model)
    if path.is_dir():
        path = path / bundle.read_contract(path).file
    facts = inspector.inspect(path)
    click.echo(as_json(facts) if json else _summary(path, facts))


def _summary(path: Path, facts: Facts) -> str:
    lines = [
        f"{path}: {facts.bytes / 1e6:.3g} MB, parameters {_count(facts.parameters)}, MACs {_count(facts.macs)}, "
        f"operators {facts.total.operators}",
        *(f"  input        {_port(port)}" for port in facts.inputs),
        *(f"  output       {_port(port)}" for port in facts.outputs),
        "  operators    " + ", ".join(f"{_plain(name)} {count}" for name, count in facts.operators.items()),
    ]
    for row in facts.quantization:
        if row.kind in ("input", "output"):
            continue  # told above
        scales = "no scale" if row.scales == "none" else f"scales {row.scales}"
        lines.append(f"  {row.kind:<21}{row.tensors} {row.dtype}, {scales}")
    return "\n".join([*lines, *_edgetpu(facts), *_patterns(facts)])


def _edgetpu(facts: Facts) -> list[str]:
    if facts.edgetpu.compiled:
        return ["  Edge TPU     compiled for it: runs only where one is"]
    told = "by Coral's list of operators; its compiler decides and was not run"
    if facts.edgetpu.graphs > 1:
        return [f"  Edge TPU     would not take it: it has {facts.edgetpu.graphs} graphs, and one is taken ({told})"]
    problems = facts.edgetpu.problems
    if not problems:
        return [f"  Edge TPU     nothing stands against it ({told})"]
    groups: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        groups.setdefault((_plain(problem.operator), problem.reason), []).append(f"{problem.index}")
    left = facts.total.operators - problems[0].index
    lines = [
        f"  Edge TPU     would not take {len(problems)} of {facts.total.operators} operators, and the CPU would run "
        f"the last {left}, from {problems[0].index} on: {_plain(problems[0].tensor)} ({told})"
    ]
    for (operator, reason), places in groups.items():
        more = f", and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
        lines.append(f"    {operator} {reason}: at {', '.join(places[:_MOST_PLACES])}{more}")
    return lines


def _patterns(facts: Facts) -> list[str]:
    from deploy.inspection.patterns import REASONS

    lines = []
    for kind, reason in REASONS.items():
        found = [pattern for pattern in facts.patterns if pattern.kind == kind]
        if found:
            shares = _shares(facts.pattern_costs[kind], facts.total)
            lines.append(f"  {kind.replace('_', ' ')}: {len(found)}, {shares}; {reason}")
        for pattern in found:
            steps = ", ".join(f"{place.index} {place.operator}" for place in pattern.operators)
            lines.append(f"    {steps}: {_plain(pattern.operators[-1].tensor)}")
    return lines or ["  no squeeze-and-excitation, no swish"]


def _shares(costs: Costs, total: Costs) -> str:
    parts = [f"{costs.operators / total.operators:.0%} of the operators"]
    if total.macs and total.values:
        parts.append(f"{costs.macs / total.macs:.1%} of the MACs")
        parts.append(f"{costs.values / total.values:.0%} of the values read and written")
    return ", ".join(parts)


def _port(port: Port) -> str:
    tensor = port.tensor
    scale = "" if tensor.scale is None else f", scale {tensor.scale:g}, zero point {tensor.zero_point}"
    shape = ", ".join("any" if size < 0 else str(size) for size in port.signature)
    return f"{_plain(port.name)}: {tensor.dtype} [{shape}]{scale}"


def _count(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1_000_000 else str(number)


def _plain(name: str) -> str:
    """A name from the file, fit for a terminal: no control characters, not longer than a line."""
    text = "".join(character if character.isprintable() else "?" for character in name)
    return text if len(text) <= 100 else f"{text[:97]}..."
