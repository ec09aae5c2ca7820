"""How often the model was right in the pictures that somebody labelled, as `edge report` counts it."""

from __future__ import annotations

import sqlite3
from typing import Any, Optional

from edge.journal.packing import pack_others, pack_score
from edge.report.accuracy import sample
from edge.report.accuracy.accuracy import Names, share
from edge.report.rows import Picture as Row
from edge.review import counts, store
from edge.stats import effective_samples


def reviewed(connection: sqlite3.Connection, names: Names) -> dict[str, Any]:
    """The share of right answers among all frames of a model, from the labelled pictures as a sample of them.

    Each counts for the frames that it stands for, so that `share` is not `right` of `labelled`; the interval is
    Wilson's for as many independent pictures as these are worth. What costs time is only what was labelled.

    Args:
        connection: to a journal.
        names: of the model's classes.

    Raises:
        JournalError: the journal cannot be read.
    """
    model_id = names.model.id
    found: list[tuple[Row, Optional[str]]] = [(_row(each), each.label) for each in store.labelled(connection, model_id)]
    # Of the others it only matters for how many frames they stand: one of each stratum stands for all.
    others = counts.not_labelled(connection, model_id)
    found += [(Row(0, 0, 0, stratum, frames, "", 0, 0, b"", None), None) for stratum, frames in others.items()]
    strata = sample.seen(found, names)
    counted = [each for stratum in strata for each in stratum if names.meant(each.truth)]
    weight = sum(each.weight for each in counted)
    effective = effective_samples(weight, sum(each.weight**2 for each in counted))
    varying = sample.effective(strata, names).top1
    told = share(
        sum(each.weight for each in counted if each.right),
        weight,
        len(counted),
        effective if varying is None else max(1.0, varying),
    )
    return {
        "labelled": len(counted),
        "right": sum(each.right for each in counted),
        "share": told.value,
        "low": told.low,
        "high": told.high,
        "frames": told.total,
        "no_class": sum(map(len, strata)) - len(counted),
        "not_looked_at": sorted(set(others) - {each.picture.stratum for stratum in strata for each in stratum}),
    }


def _row(picture: store.Picture) -> Row:
    first = picture.predictions[0]
    return Row(
        run_id=picture.run_id,
        sequence=picture.sequence,
        monotonic_ns=0,
        stratum=picture.stratum,
        stands_for=picture.stands_for,
        file=picture.file,
        class_id=first.class_id,
        score=pack_score(first.score),
        others=pack_others(picture.predictions),
        truth=picture.truth,
    )
