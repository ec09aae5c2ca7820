"""Whether the configuration can be used, and is likely to be meant."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning

_TOLD_ELSEWHERE = ("model.path: ", "runtime.twin: ", "runtime.library: ")
"""What the sections models and accelerator tell."""


def examine(case: Case) -> Iterator[Finding]:
    """The file, the environment and the command line."""
    from edge.config import misspelt, outlet_advice
    from edge.config.advice import warnings

    for sentence in case.meant.problems:
        yield blocks(sentence, "correct it; `edge config check` tells whether all is well then.")
    elsewhere = {*outlet_advice.missing(case.config), *outlet_advice.warnings(case.config)}
    doubtful = [*misspelt(os.environ), *warnings(case.config, case.meant.origins)]
    doubtful = [sentence for sentence in doubtful if sentence not in elsewhere]
    if case.file is None:
        doubtful = [sentence for sentence in doubtful if not sentence.startswith(_TOLD_ELSEWHERE)]
    for sentence in doubtful:
        yield warning(sentence, "correct it, then `edge config check`." if case.file else "correct it.")
    if case.meant.problems or doubtful:
        return
    if case.file is None:
        yield note("no file is named, and no service is configured: the defaults hold.")
    else:
        yield ok(f"{case.file} can be used.")
