"""The subcommand `edge-deploy wheelhouse`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from deploy.commands import as_json, reported, say

if TYPE_CHECKING:
    from deploy.wheelhouse.gather import Report, Wheel

_NONE = "none"


@click.command()
@click.option(
    "--python", metavar="VERSION", required=True, help="The device's, 3.9 to 3.13: `python3 --version` there."
)
@click.option(
    "--arch", metavar="NAME", default="aarch64", show_default=True, help="aarch64 or x86_64: `uname -m` there."
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="For the wheels; what else is in it stays.",
)
@click.option(
    "--extra",
    "extras",
    metavar="NAME",
    multiple=True,
    help="Of edge-runner, such as report; repeatable. mqtt, prometheus and web come always.",
)
@click.option("--tflite", is_flag=True, help="The same as --extra tflite: Coral's older stack beside LiteRT.")
@click.option(
    "--system-numpy",
    metavar="VERSION|none",
    help="apt's numpy, which an installation with apt's picamera2 keeps: what goes with it is gathered too. "
    "[aarch64: 1.24.2 with Python 3.11, 2.2.4 with 3.13]",
)
@click.option(
    "--wheel",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A wheel of edge-runner. [built from this checkout]",
)
@click.option("--json", "json", is_flag=True, help="Print one JSON document.")
@reported
def wheelhouse(
    python: str,
    arch: str,
    out: Path,
    extras: tuple[str, ...],
    tflite: bool,
    system_numpy: Optional[str],
    wheel: Optional[Path],
    json: bool,
) -> None:
    """Gather every wheel that a device needs, for `install.sh --offline DIR` without a network.

    pip chooses them, for the device's Python, processor and glibc, and then shows that they are enough. SHA256SUMS is
    written beside them.
    """
    from deploy.wheelhouse import gather, targets

    target = targets.target(python, arch)
    numpy = target.numpy if system_numpy is None else system_numpy
    request = gather.Request(
        target=target,
        out=out,
        extras=(*extras, *(["tflite"] if tflite else [])),
        numpy=None if numpy == _NONE else numpy,
        wheel=wheel,
    )
    report = gather.gather(request, say)
    click.echo(as_json(report) if json else _summary(report))


def _summary(report: Report) -> str:
    width = max(len(wheel.file) for wheel in report.wheels)
    lines = [f"{wheel.file:<{width}}  {wheel.bytes:>11,}{_taken(wheel, report)}" for wheel in report.wheels]
    extras = f"[{','.join(report.extras)}]" if report.extras else ""
    lines += [
        f"{f'{len(report.wheels)} wheels':<{width}}  {report.bytes:>11,} bytes",
        f"{report.out}: edge-runner{extras} {report.version} for Python {report.python} on {report.arch} "
        f"({report.system}, glibc {report.glibc}); these wheels are enough, without a network. {report.new} are new.",
    ]
    if report.removed:
        lines.append(f"removed, because an installer must find one edge-runner: {', '.join(report.removed)}")
    if report.others:
        lines.append(f"left alone: {report.others} other wheels, from earlier or for another system")
    return "\n".join(lines)


def _taken(wheel: Wheel, report: Report) -> str:
    if wheel.own_numpy and wheel.system_numpy:
        return ""
    return f"  only with the system's numpy {report.numpy}" if wheel.system_numpy else "  only with a numpy of its own"
