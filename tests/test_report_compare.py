"""Verdicts on recordings whose truth is known: faster, slower, more often right, or not to be told."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edge.commands.compare import STAGES as EVERY_STAGE
from edge.journal.packing import THROTTLED, WARM_UP
from edge.report.comparison.compare import compare
from edge.report.comparison.text import text_of, verdict
from edge.stats import STAGES
from tests.pairs import Minute, pair, record, varied


def stage(comparison, name="age"):
    return next(each for each in comparison.stages if each.stage == name)


def test_the_same_speed_cannot_be_told_apart(tmp_path):
    journal = record(tmp_path / "a.db", [varied(10, number, spread=0.03, frames=100) for number in range(24)], 1)
    pairs = [(f"{journal}:{number}", f"{journal}:{number + 1}") for number in range(1, 25, 2)]
    told = [stage(compare(*each, ["age"])).verdict for each in pairs]
    assert told.count("cannot tell") >= 10


@pytest.mark.parametrize(("slower", "verdict_of_b"), [(1.05, "worse"), (0.95, "better")])
def test_a_real_difference_is_told_with_its_sign(tmp_path, slower, verdict_of_b):
    comparison = compare(*pair(tmp_path, varied(30, 1), varied(30, 2, slower)))
    assert [each.stage for each in comparison.stages] == list(STAGES)
    for each in comparison.stages:
        assert each.verdict == verdict_of_b
        assert each.reason is None
        assert each.change_percent.low < 100 * (slower - 1) < each.change_percent.high
        assert each.change_ms.low <= each.change_ms.value <= each.change_ms.high
        assert each.change_ms.value == pytest.approx(each.b_ms - each.a_ms, abs=1e-3)
    assert 14.5 < stage(comparison).a_ms < 16.5


def test_swapped_sides_are_mirrored(tmp_path):
    a, b = pair(tmp_path, varied(20, 1, right=200), varied(40, 2, 1.04, right=210))
    forth, back = compare(a, b), compare(b, a)
    assert (forth.a, forth.b) == (back.b, back.a)
    opposite = {"better": "worse", "worse": "better", "cannot tell": "cannot tell"}
    for one, other in zip(forth.stages, back.stages):
        assert (one.a_ms, one.b_ms, one.verdict) == (other.b_ms, other.a_ms, opposite[other.verdict])
        assert one.change_ms.value == -other.change_ms.value
        assert (one.change_ms.low, one.change_ms.high) == pytest.approx((-other.change_ms.high, -other.change_ms.low))
    one, other = forth.accuracy[0], back.accuracy[0]
    assert (one.a, one.b, one.verdict) == (other.b, other.a, opposite[other.verdict])
    points = (one.change_points.low, one.change_points.high)
    assert points == pytest.approx((-other.change_points.high, -other.change_points.low))


def test_what_is_told_is_told_again(tmp_path):
    a, b = pair(tmp_path, varied(10, 1), varied(10, 2))
    assert compare(a, b, ["age"]) == compare(a, b, ["age"])


def test_a_recording_does_not_differ_from_itself(tmp_path):
    a, _ = pair(tmp_path, varied(10, 1, right=250), varied(1, 2))
    comparison = compare(a, a)
    assert {each.verdict for each in comparison.stages} == {"cannot tell"}
    assert stage(comparison).change_ms.low < 0 < stage(comparison).change_ms.high
    assert [each.verdict for each in comparison.accuracy] == ["cannot tell"]
    assert comparison.differs == []


def test_too_few_minutes_without_frames_cannot_tell(tmp_path):
    told = stage(compare(*pair(tmp_path, varied(30, 1), varied(7, 2, 2.0)), ["age"]))
    assert (told.verdict, told.change_ms) == ("cannot tell", None)
    assert told.reason == "B has steady samples in 7 minutes, of at least 8 needed"
    assert told.b_ms == pytest.approx(2 * told.a_ms, rel=0.05)


def test_too_few_samples_cannot_tell(tmp_path):
    told = stage(compare(*pair(tmp_path, varied(30, 1), varied(10, 2, frames=1)), ["age"]))
    assert told.reason == "B has 10 steady samples, of at least 11 needed"
    assert (told.verdict, told.b_ms) == ("cannot tell", None)


def test_warm_up_and_throttled_samples_are_left_aside(tmp_path):
    clean = varied(20, 1)
    mixed = [*varied(5, 2, 3.0, state=WARM_UP), *varied(20, 3), *varied(40, 4, 2.0, state=THROTTLED)]
    comparison = compare(*pair(tmp_path, clean, mixed), ["age"])
    assert comparison.b.samples == {"steady": 6000, "warm-up": 1500, "throttled": 12_000, "fallback": 0}
    assert comparison.b.compared == 6000
    assert abs(stage(comparison).change_percent.value) < 3
    assert stage(comparison).verdict == "cannot tell"
    assert [(each.what, each.a, each.b) for each in comparison.differs] == [("throttled frames", "0.0 %", "66.7 %")]
    assert "left aside: 1,500 warm-up, 12,000 throttled" in text_of(comparison)


def test_a_recording_without_steady_samples(tmp_path):
    comparison = compare(*pair(tmp_path, varied(10, 1), varied(10, 2, state=THROTTLED), keep_every=5), ["age"])
    told = stage(comparison)
    assert (told.verdict, told.b_ms) == ("cannot tell", None)
    assert told.reason == "B has no steady samples (only 3,000 throttled)"
    assert verdict(comparison).startswith(
        "Speed: cannot tell (B has no steady samples (only 3,000 throttled)); accuracy"
    )


def test_a_run_that_recorded_nothing_yet(tmp_path):
    comparison = compare(*pair(tmp_path, varied(10, 1), []), ["age"])
    assert stage(comparison).reason == "B has no steady samples"
    assert text_of(comparison)


def test_a_slow_drift_widens_the_interval(tmp_path):
    ramp = 0.8 + 0.4 * np.arange(30) / 30
    shuffled = np.random.default_rng(5).permutation(ramp)
    drifting = record(tmp_path / "drift.db", [[Minute(each) for each in ramp]] * 2, 1)
    mixed = record(tmp_path / "mixed.db", [[Minute(each) for each in shuffled]] * 2, 1)
    widths = [
        told.high - told.low
        for told in (stage(compare(f"{each}:1", f"{each}:2", ["age"])).change_ms for each in (drifting, mixed))
    ]
    assert widths[0] > 1.2 * widths[1]


def test_accuracy_that_differs_in_all_minutes(tmp_path):
    comparison = compare(*pair(tmp_path, varied(20, 1, right=240), varied(20, 2, right=270)), ["age"])
    (told,) = comparison.accuracy
    assert (told.source, told.verdict) == ("known at the time", "better")
    assert (told.a.value, told.b.value) == (0.8, 0.9)
    assert told.change_points.value == 10
    assert told.change_points.low > 7
    assert "accuracy: better (+10.0 points" in verdict(comparison)


def test_accuracy_of_few_minutes_or_of_one_side_cannot_be_told(tmp_path):
    (few,) = compare(*pair(tmp_path, varied(20, 1, right=300), varied(3, 2, right=0)), ["age"]).accuracy
    assert (few.verdict, few.change_points) == ("cannot tell", None)
    assert few.reason == "the truth is known in 3 minutes of B, of at least 8 needed"
    comparison = compare(str(tmp_path / "a.db"), str(record(tmp_path / "c.db", [varied(20, 3)], 3)))
    assert comparison.accuracy[0].reason == "B knows no truth of this kind"
    assert verdict(comparison).endswith("accuracy: cannot tell (B knows no truth of this kind).")


def test_the_command(tmp_path):
    a, b = pair(tmp_path, varied(12, 1, right=200), varied(12, 2, 0.8, right=290))

    def edge(*arguments):
        command = [sys.executable, "-m", "edge", "compare", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    code, out, err = edge(a, b)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("B is faster: age 2.")
    assert "accuracy: better (+" in out.splitlines()[-1]
    code, out, _ = edge(a, b, "--stage", "invoke", "--json")
    document = json.loads(out)
    assert [each["stage"] for each in document["stages"]] == ["invoke"]
    assert document["stages"][0]["verdict"] == "better"
    assert document["a"]["samples"] == {"steady": 3600, "warm-up": 0, "throttled": 0, "fallback": 0}
    code, out, err = edge(a, f"{b}:9")
    assert (code, out, err) == (1, "", f"Error: {b} has no run '9': give 1 (run-1), or last.\n")
    assert EVERY_STAGE == STAGES
