"""What was right, by where the truth is from: against plain counting."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.daemon import Totals
from edge.journal import schema
from edge.labels import ClassNames
from edge.records import Prediction, Record, Timings
from edge.report.accuracy.accuracy import KNOWN, LABELLED, REVIEWED, Merged
from edge.report.accuracy.tally import Tally
from edge.report.figures import Accuracy
from edge.report.reading import Reader
from edge.stats import wilson, wilson_weighted
from tests.journals import BOOTED_NS, LABELS, NS, insert, utc_ns

FRAMES_A_WINDOW = 4
STEP_S = 15
ROBIN, SHARK, DAISY, TULIP, ROCKET = 1, 2, 3, 4, 5
CLASSES = ClassNames(LABELS)


class Seen(NamedTuple):
    """A frame; four of them make a window."""

    class_id: int
    truth: Optional[str] = None
    others: tuple[int, ...] = ()
    stands_for: int = 1


def packed(others: tuple[int, ...]) -> bytes:
    return b"".join(each.to_bytes(2, "little") + b"\x10\x00" for each in others)


def at_ns(number: int) -> int:
    return BOOTED_NS + number * STEP_S * NS + NS


def journal(
    folder: Path, frames: list[Seen], labels: Sequence[dict[str, Any]] = (), names: Sequence[str] = LABELS
) -> Path:
    """A run with these frames, all kept, and windows that count them as often as they stand for others."""
    path = folder / "field.db"
    with closing(schema.connect(path)) as connection:
        connection.execute("BEGIN")
        insert(connection, "models", labels=json.dumps(names))
        insert(connection, "runs")
        insert(connection, "clocks")
        for number, seen in enumerate(frames):
            insert(
                *(connection, "frames"),
                sequence=number,
                monotonic_ns=at_ns(number),
                class_id=seen.class_id,
                others=packed(seen.others),
                truth=seen.truth,
                stands_for=seen.stands_for,
            )
        for first in range(0, len(frames), FRAMES_A_WINDOW):
            add_window(connection, first // FRAMES_A_WINDOW, frames[first : first + FRAMES_A_WINDOW])
        for label in labels:
            insert(connection, "labels", **label)
        connection.execute("COMMIT")
    return path


def add_window(connection: Any, minute: int, frames: list[Seen]) -> None:
    answers: Counter[tuple[Optional[str], int, bool]] = Counter()
    for seen in frames:
        meant = CLASSES.find(seen.truth) if seen.truth else frozenset()
        answers[seen.truth, seen.class_id, not meant.isdisjoint((seen.class_id, *seen.others))] += seen.stands_for
    insert(
        *(connection, "windows"),
        began_ns=BOOTED_NS + minute * 60 * NS,
        ended_ns=BOOTED_NS + (minute + 1) * 60 * NS,
        frames=sum(answers.values()),
        answers=json.dumps(
            [(truth, class_id, count, count * top) for (truth, class_id, top), count in answers.items()]
        ),
    )


def span(first: int, last: int, truth: Optional[str], said_s: float = 0.0) -> dict[str, Any]:
    """A label from a frame to before another."""
    return {
        "from_utc_ns": utc_ns(first * STEP_S),
        "to_utc_ns": utc_ns(last * STEP_S),
        "truth": truth,
        "said_utc_ns": utc_ns(100_000 + said_s),
    }


def of_frame(sequence: int, truth: Optional[str], said_s: float = 0.0) -> dict[str, Any]:
    return {"run_id": 1, "sequence": sequence, "truth": truth, "said_utc_ns": utc_ns(100_000 + said_s)}


def tallied(path: Path) -> Tally:
    with Reader(path) as reader:
        tally = Tally(reader, reader.window_times())
        for place, window in enumerate(reader.windows()):
            tally.add_window(place, window)
        tally.add_frames()
        tally.add_pictures()
        tally.told()
    return tally


def told(path: Path) -> dict[str, Accuracy]:
    return {merged.accuracy.source: merged.accuracy for merged in tallied(path).told()}


def shares(accuracy: Accuracy) -> tuple[float, float, Optional[float]]:
    return accuracy.top1.right, accuracy.top1.total, accuracy.top5.right if accuracy.top5 else None


names = st.sampled_from(["robin", "white shark", "Daisy", "a chair", None])
seen_frames = st.builds(Seen, st.integers(0, 5), names, st.lists(st.integers(0, 7), max_size=4).map(tuple), st.just(1))
spoken = st.one_of(
    st.builds(span, st.integers(0, 11), st.integers(0, 11), names, st.integers(0, 3)),
    st.builds(of_frame, st.integers(0, 11), names, st.integers(0, 3)),
)


def judged(number: int, seen: Seen, labels: list[dict[str, Any]]) -> tuple[str, Optional[str]]:
    """Where the truth of a frame is from, and the truth, in the words of the rule."""
    ordered = [label for _, label in sorted(enumerate(labels), key=lambda item: (item[1]["said_utc_ns"], item[0]))]
    moment = utc_ns(number * STEP_S + 1)
    around = [each for each in ordered if "sequence" not in each and each["from_utc_ns"] <= moment < each["to_utc_ns"]]
    named = [each for each in ordered if each.get("sequence") == number]
    source, truth = (LABELLED, around[-1]["truth"]) if around else (KNOWN, seen.truth)
    if named:
        source, truth = (LABELLED if truth is None else source), named[-1]["truth"]
    return source, truth


@settings(max_examples=60)
@given(st.lists(seen_frames, min_size=1, max_size=12), st.lists(spoken, max_size=4))
def test_with_all_frames_kept_it_is_plain_counting(frames, labels) -> None:
    expected: dict[str, Counter[str]] = {KNOWN: Counter(), LABELLED: Counter()}
    for number, seen in enumerate(frames):
        source, truth = judged(number, seen, labels)
        if truth is None:
            continue
        meant = CLASSES.find(truth)
        if not meant:
            expected[source]["unknown"] += 1
            continue
        expected[source]["total"] += 1
        expected[source]["right"] += seen.class_id in meant
        expected[source]["top5"] += not meant.isdisjoint((seen.class_id, *seen.others))
    with TemporaryDirectory() as folder:
        found = told(journal(Path(folder), frames, labels))
    for source, counts in expected.items():
        if not counts:
            assert source not in found
            continue
        accuracy = found[source]
        assert shares(accuracy) == (counts["right"], counts["total"], counts["top5"])
        assert accuracy.unknown == counts["unknown"]
        assert accuracy.top1.counted == counts["total"]
        if counts["total"]:
            low, high = wilson(counts["right"], counts["total"])
            assert (accuracy.top1.low, accuracy.top1.high) == pytest.approx((low, high), abs=2e-6)
        else:
            assert accuracy.top1.value is None


@given(st.lists(seen_frames, min_size=1, max_size=8))
@settings(max_examples=20)
def test_a_run_tells_the_same_totals_when_it_ends(frames) -> None:
    totals = Totals()
    for seen in frames:
        best = Prediction(seen.class_id, LABELS[seen.class_id], 0.9)
        totals.add(Record("run-1", 0, "", 0, Timings(0, 0, 0, 0), (best,), "cpu", seen.truth), CLASSES)
    with TemporaryDirectory() as folder:
        found = told(journal(Path(folder), frames)).get(KNOWN)
    if totals.with_truth or totals.unknown_truth:
        assert shares(found)[:2] == (totals.right, totals.with_truth)
        assert found.unknown == totals.unknown_truth
    else:
        assert found is None


def test_a_frame_counts_as_often_as_it_stands_for_others(tmp_path: Path) -> None:
    frames = [Seen(ROBIN, stands_for=6), Seen(SHARK, stands_for=2), Seen(ROBIN, stands_for=2)]
    top1 = told(journal(tmp_path, frames, [span(0, 3, "robin")]))[LABELLED].top1
    assert (top1.right, top1.total, top1.counted) == (8, 10, 3)
    assert (top1.low, top1.high) == pytest.approx(wilson_weighted(8, 10, 36 + 4 + 4), abs=1e-6)


def test_windows_that_no_label_touches_count_all_frames_whatever_was_kept(tmp_path: Path) -> None:
    frames = [Seen(ROBIN, "robin", stands_for=25)] * 8
    path = journal(tmp_path, frames, [span(0, 1, "tulip")])
    with closing(schema.connect(path)) as connection:
        connection.execute("DELETE FROM frames WHERE sequence >= 2")
    found = told(path)
    # Of the first window a frame is labelled and one is left; the second counts in full, as if nothing were missing.
    assert shares(found[KNOWN])[:2] == (125, 125)
    assert found[KNOWN].top1.counted == 101
    assert shares(found[LABELLED])[:2] == (0, 25)


def test_a_labelled_minute_without_kept_frames_is_told(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, "robin")] * 8, [span(0, 4, "robin")])
    with closing(schema.connect(path)) as connection:
        connection.execute("DELETE FROM frames WHERE sequence < 4")
    tally = tallied(path)
    assert [merged.accuracy.top1.total for merged in tally.told()] == [4]
    assert tally.notes == ["1 minute that a later label touches kept no frames: what was true then counts nowhere."]


def test_a_label_is_taken_back(tmp_path: Path) -> None:
    frames = [Seen(ROBIN)] * 4
    labels = [span(0, 4, "robin", said_s=1), span(0, 2, None, said_s=2), of_frame(3, None)]
    assert shares(told(journal(tmp_path, frames, labels))[LABELLED])[:2] == (1, 1)


def test_a_class_is_called_by_its_label_and_what_it_was_taken_for_is_told(tmp_path: Path) -> None:
    frames = [Seen(SHARK, "white_shark"), Seen(ROBIN, "great white shark"), Seen(ROBIN, "great white shark")]
    (only,) = told(journal(tmp_path, frames))[KNOWN].classes
    assert only.truth == "great white shark, white shark"
    assert list(only.taken_for.items()) == [("robin", 2), ("great white shark, white shark", 1)]
    assert only.top1.value == pytest.approx(1 / 3, abs=1e-6)


def test_a_name_that_means_several_classes_is_right_with_each(tmp_path: Path) -> None:
    frames = [Seen(class_id, "crane") for class_id in range(3)]
    accuracy = told(journal(tmp_path, frames, names=["crane", "crane", "goose"]))[KNOWN]
    assert shares(accuracy) == (2, 3, None)  # no top-5 of three classes
    assert accuracy.classes[0].taken_for == {"crane": 2, "goose": 1}


def test_days_are_those_of_utc(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, "robin")] * 4 + [Seen(SHARK, "robin")] * 4)
    with closing(schema.connect(path)) as connection:  # midnight is when the second minute begins
        connection.execute("UPDATE clocks SET utc_minus_monotonic_ns = utc_minus_monotonic_ns - ?", (60 * NS,))
    days = told(path)[KNOWN].days
    assert {day: (share.right, share.total) for day, share in days.items()} == {
        "2025-12-31": (4, 4),
        "2026-01-01": (0, 4),
    }


def test_models_are_told_apart(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, "robin")] * 4)
    with closing(schema.connect(path)) as connection:
        insert(connection, "models", sha256="cd" * 32)
        insert(connection, "runs", run="run-2", model_id=2)
        insert(connection, "clocks", run_id=2)
        insert(connection, "windows", run_id=2, frames=3, answers=json.dumps([("robin", SHARK, 3, 0)]))
    found = {merged.accuracy.model: shares(merged.accuracy)[:2] for merged in tallied(path).told()}
    assert found == {"lite0 (abababab)": (4, 4), "lite0 (cdcdcdcd)": (0, 3)}


def add_pictures(path: Path, rows: list[tuple[int, str, float, int]]) -> None:
    with closing(schema.connect(path)) as connection:
        for sequence, stratum, stands_for, class_id in rows:
            insert(
                *(connection, "pictures"),
                sequence=sequence,
                monotonic_ns=at_ns(sequence),
                stratum=stratum,
                stands_for=stands_for,
                class_id=class_id,
                others=packed((TULIP, ROCKET)),
            )


def test_reviewed_pictures_are_weighted(tmp_path: Path) -> None:
    path = journal(tmp_path, [], [of_frame(0, "robin"), of_frame(1, "robin"), of_frame(2, "tulip")])
    add_pictures(path, [(0, "ordinary", 70.0, ROBIN), (1, "ordinary", 20.0, SHARK), (2, "unsure", 10.0, DAISY)])
    accuracy = told(path)[REVIEWED]
    assert shares(accuracy) == (70, 100, 80)
    assert (accuracy.top1.low, accuracy.top1.high) == pytest.approx(
        wilson_weighted(70, 100, 70**2 + 20**2 + 10**2), abs=1e-6
    )


def test_pictures_that_nobody_looked_at_are_stood_for_by_others_of_their_stratum(tmp_path: Path) -> None:
    path = journal(tmp_path, [], [of_frame(0, "robin"), of_frame(1, "robin")])
    add_pictures(
        path,
        [
            (0, "ordinary", 50.0, ROBIN),  # right
            (2, "ordinary", 130.0, SHARK),
            (1, "unsure", 20.0, SHARK),  # wrong
        ],
    )
    assert shares(told(path)[REVIEWED])[:2] == (180, 200)


def test_a_stratum_that_nobody_looked_at_is_told(tmp_path: Path) -> None:
    path = journal(tmp_path, [], [of_frame(0, "robin"), of_frame(1, None)])
    add_pictures(path, [(0, "ordinary", 50.0, ROBIN), (1, "changed", 2.0, SHARK)])
    tally = tallied(path)
    (note,) = tally.notes
    assert "1 picture" in note
    assert "'changed'" in note
    assert shares(tally.told()[0].accuracy)[:2] == (50, 50)


def test_a_reviewed_picture_does_not_count_as_a_label_as_well(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, stands_for=40)] * 4, [of_frame(0, "robin"), of_frame(1, "robin")])
    add_pictures(path, [(0, "unsure", 3.0, ROBIN)])
    found = told(path)
    assert shares(found[REVIEWED])[:2] == (3, 3)
    assert shares(found[LABELLED])[:2] == (40, 40)  # the other one is no picture


def test_a_picture_within_a_labelled_span_corrects_its_frame(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN)] * 4, [span(0, 4, "robin"), of_frame(0, "tulip")])
    add_pictures(path, [(0, "ordinary", 9.0, ROBIN)])
    found = told(path)
    assert shares(found[LABELLED])[:2] == (3, 4)
    assert shares(found[REVIEWED])[:2] == (0, 9)


def test_what_merges_are_sums_of_squares(tmp_path: Path) -> None:
    merged: list[Merged] = tallied(
        journal(tmp_path, [Seen(ROBIN, "robin", stands_for=3)] * 4, [span(0, 2, "robin")])
    ).told()
    assert [(each.accuracy.source, each.squares) for each in merged] == [(KNOWN, 18), (LABELLED, 18)]
