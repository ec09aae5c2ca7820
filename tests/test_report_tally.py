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

from edge.journal import schema
from edge.labels import ClassNames
from edge.loop.daemon import Totals
from edge.records import Prediction, Record, Timings
from edge.report.accuracy.sums import KNOWN, LABELLED, REVIEWED
from edge.report.accuracy.tally import Tally
from edge.report.figures import Accuracy
from edge.report.reading import Reader
from edge.stats import effective_samples, wilson, wilson_weighted
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
    return b"".join(each.to_bytes(2, "little") + b"\x10\x00" for each in others).ljust(16, b"\xff")


def at_ns(number: int) -> int:
    return BOOTED_NS + number * STEP_S * NS + NS


def journal(
    folder: Path, frames: list[Seen], labels: Sequence[dict[str, Any]] = (), names: Sequence[str] = LABELS
) -> Path:
    """A run with these frames, all kept, and windows that count them as often as they stand for others."""
    folder.mkdir(exist_ok=True)
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
    return {accuracy.source: accuracy for accuracy in tallied(path).told()}


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
    moment = utc_ns(number * STEP_S + 1)
    around = [each for each in labels if "sequence" not in each and each["from_utc_ns"] <= moment < each["to_utc_ns"]]
    named = [each for each in labels if each.get("sequence") == number]
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
    # Of the first window a frame is labelled and one is left, and both stand for it all; the second counts as it is.
    assert shares(found[KNOWN])[:2] == (150, 150)
    assert found[KNOWN].top1.counted == 101
    assert shares(found[LABELLED])[:2] == (0, 50)


def test_a_minute_that_labels_cut_and_that_kept_no_frames_is_told(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, "robin")] * 8, [span(1, 4, "robin")])
    with closing(schema.connect(path)) as connection:
        connection.execute("DELETE FROM frames WHERE sequence < 4")
    tally = tallied(path)
    assert [accuracy.top1.total for accuracy in tally.told()] == [4]
    assert tally.notes == ["1 minute that labels cover in part kept no frames: what was true then counts nowhere."]


def test_a_labelled_minute_needs_no_kept_frames(tmp_path: Path) -> None:
    frames = [Seen(ROBIN, stands_for=70), *[Seen(SHARK, stands_for=10)] * 3, *[Seen(DAISY, stands_for=5)] * 4]
    path = journal(tmp_path, frames, [span(0, 5, "robin"), span(4, 8, "robin", said_s=1)])
    with closing(schema.connect(path)) as connection:
        connection.execute("DELETE FROM frames")
    tally = tallied(path)
    (accuracy,) = tally.told()
    assert (accuracy.source, accuracy.top1.right, accuracy.top1.total) == (LABELLED, 70, 120)
    assert (accuracy.top1.counted, accuracy.top5, tally.notes) == (120, None, [])


def test_top_5_of_a_labelled_minute_is_of_its_kept_frames(tmp_path: Path) -> None:
    frames = [
        Seen(ROBIN, stands_for=40),
        Seen(SHARK, others=(ROBIN,), stands_for=40),
        *[Seen(DAISY, stands_for=10)] * 6,
    ]
    path = journal(tmp_path, frames, [span(0, 8, "robin")])
    with closing(schema.connect(path)) as connection:
        connection.execute("DELETE FROM frames WHERE sequence IN (2, 3) OR sequence >= 4")
        connection.execute("UPDATE frames SET stands_for = 1 + 2 * (sequence = 0)")
    accuracy = told(path)[LABELLED]
    assert (accuracy.top1.right, accuracy.top1.total) == (40, 140)
    # Two frames are left of the first minute, which had 100, and none of the second.
    assert (accuracy.top5.right, accuracy.top5.total, accuracy.top5.counted) == (100, 100, 2)


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
    found = {accuracy.model: shares(accuracy)[:2] for accuracy in tallied(path).told()}
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
    assert shares(tally.told()[0])[:2] == (50, 50)


def test_a_reviewed_picture_does_not_count_as_a_label_as_well(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, stands_for=40)] * 4, [of_frame(0, "robin"), of_frame(1, "robin")])
    add_pictures(path, [(0, "unsure", 3.0, ROBIN)])
    found = told(path)
    assert shares(found[REVIEWED])[:2] == (3, 3)
    assert shares(found[LABELLED])[:2] == (1, 1)  # the other one is no picture


def test_a_picture_within_a_labelled_span_corrects_its_frame(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN)] * 4, [span(0, 4, "robin"), of_frame(0, "tulip")])
    add_pictures(path, [(0, "ordinary", 9.0, ROBIN)])
    found = told(path)
    assert shares(found[LABELLED])[:2] == (3, 4)
    assert shares(found[REVIEWED])[:2] == (0, 9)


def test_confirming_what_was_known_changes_nothing(tmp_path: Path) -> None:
    """Two hundred minutes at 88 %, and somebody looks at pictures of unsure frames, which are wrong more often."""
    frames = [Seen(ROBIN if number % 25 < 22 else SHARK, "robin", stands_for=25) for number in range(800)]
    path = journal(tmp_path, frames, [of_frame(number * 20, "robin") for number in range(40)])
    add_pictures(path, [(number * 20, "unsure", 25.0, frames[number * 20].class_id) for number in range(40)])
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE pictures SET truth = 'robin'")
        connection.execute("DELETE FROM frames")
    tally = tallied(path)
    known = {accuracy.source: accuracy for accuracy in tally.told()}[KNOWN]
    assert (known.top1.value, known.top1.total, tally.notes) == (0.88, 20_000, [])


def test_a_correction_moves_one_frame_and_not_all_that_it_stands_for(tmp_path: Path) -> None:
    frames = [Seen(ROBIN, "robin", stands_for=25)] * 8
    labels = [of_frame(0, "great white shark"), of_frame(1, None), of_frame(5, "a chair")]
    found = told(journal(tmp_path, frames, labels))[KNOWN]
    assert (shares(found), found.unknown) == ((197, 198, 197), 1)
    assert {each.truth: each.top1.total for each in found.classes} == {
        "great white shark, white shark": 1,
        "robin": 197,
    }


def test_a_correction_moves_one_frame_of_a_minute_that_labels_cut(tmp_path: Path) -> None:
    frames = [Seen(ROBIN, "robin", stands_for=25)] * 4
    found = told(journal(tmp_path, frames, [span(0, 2, "tulip"), of_frame(0, "robin"), of_frame(3, "tulip")]))
    assert shares(found[LABELLED])[:2] == (1, 50)
    assert shares(found[KNOWN])[:2] == (49, 50)


def test_a_correction_is_found_by_its_picture_where_no_row_was_kept(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, "robin", stands_for=25)] * 4, [of_frame(2, "tulip"), of_frame(3, "tulip")])
    add_pictures(path, [(2, "unsure", 25.0, ROBIN)])
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE pictures SET truth = 'robin', file = 'x.jpg'")
        connection.execute("DELETE FROM frames")
    tally = tallied(path)
    assert shares({accuracy.source: accuracy for accuracy in tally.told()}[KNOWN])[:2] == (99, 100)
    assert tally.notes == ["1 labelled frame has no row any more: what was said of it counts nowhere."]


def test_kept_frames_stand_for_all_of_their_minute(tmp_path: Path) -> None:
    frames = [Seen(ROBIN, "robin", stands_for=10)] * 4 + [Seen(SHARK, "robin", stands_for=10)] * 4
    path = journal(tmp_path, frames, [span(1, 7, "daisy")])
    with closing(schema.connect(path)) as connection:  # one row of each minute, which is known to stand for few
        connection.execute("DELETE FROM frames WHERE sequence NOT IN (0, 7)")
    assert shares(told(path)[KNOWN])[:2] == (40, 80)


def test_runs_with_too_few_predictions_have_no_top_5(tmp_path: Path) -> None:
    path = journal(tmp_path, [Seen(ROBIN, "robin"), Seen(SHARK, "robin", others=(ROBIN,))] * 4)
    assert told(path)[KNOWN].top5.value == 1
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE frames SET others = substr(others, 1, 8)")
    assert told(path)[KNOWN].top5 is None
    assert shares(told(path)[KNOWN])[:2] == (4, 8)


def test_pictures_that_were_deleted_unseen_are_told(tmp_path: Path) -> None:
    path = journal(tmp_path, [], [of_frame(0, "robin")])
    add_pictures(path, [(0, "ordinary", 50.0, ROBIN), (1, "ordinary", 50.0, SHARK), (2, "ordinary", 50.0, SHARK)])
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE pictures SET file = 'x.jpg' WHERE sequence = 2")
    (note,) = tallied(path).notes
    assert note.startswith("1 picture was deleted before anyone looked: ")


def test_reviewed_pictures_of_several_strata_tell_by_strata(tmp_path: Path) -> None:
    # 90 % of the frames are ordinary and all but always right; of the others as many pictures are looked at.
    path = journal(tmp_path, [], [of_frame(number, "robin") for number in range(60)])
    ordinary = [(number, "ordinary", 90.0, SHARK if number == 0 else ROBIN) for number in range(30)]
    add_pictures(
        path, ordinary + [(number, "unsure", 10.0, ROBIN if number % 2 else SHARK) for number in range(30, 60)]
    )
    share = told(path)[REVIEWED].top1
    # 0.9^2 * (1/30 * 29/30) / 29 + 0.1^2 * 0.25 / 29
    variance = (0.81 * 29 / 900 + 0.01 / 4) / 29
    assert share.value == pytest.approx(0.92, abs=1e-6)
    assert share.effective == pytest.approx(0.92 * 0.08 / variance, rel=1e-3)
    assert share.effective > effective_samples(3000, 30 * 90**2 + 30 * 10**2)


def test_intervals_take_as_many_answers_as_the_minutes_differ(tmp_path: Path) -> None:
    right, wrong = Seen(ROBIN, "robin", stands_for=100), Seen(SHARK, "robin", others=(ROBIN,), stands_for=100)
    other = Seen(SHARK, "robin", stands_for=100)
    minutes = [[right] * 4, [wrong] * 4, [right, right, wrong, other]]
    frames = [seen for number in range(36) for seen in minutes[number % 9 // 3]]
    accuracy = told(journal(tmp_path, frames))[KNOWN]
    assert (accuracy.stretches, accuracy.top1.counted) == (8, 14_400)
    assert accuracy.top1.effective < 100
    assert 8 < accuracy.top5.effective < 100
    (only,) = accuracy.classes
    (day,) = accuracy.days.values()
    assert only.top1 == day == accuracy.top1
    few = told(journal(tmp_path / "few", frames[:28]))[KNOWN]
    assert (few.stretches, few.top1.effective) == (7, 2_800)
