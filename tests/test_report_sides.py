"""Which runs are compared, and into what their samples are gathered."""

from contextlib import closing

import pytest

from edge.errors import JournalError
from edge.journal import schema
from edge.report.comparison.compare import compare
from tests.pairs import pair, record, varied


def stage(comparison, name="age"):
    return next(each for each in comparison.stages if each.stage == name)


def test_a_short_recording_is_compared_by_its_kept_frames(tmp_path):
    a, b = pair(tmp_path, varied(3, 1), varied(3, 2, 1.3), keep_every=3)
    comparison = compare(a, b, ["age"])
    assert (comparison.a.basis, comparison.a.compared, comparison.a.blocks) == ("kept frames", 300, 20)
    assert stage(comparison).verdict == "worse"
    assert stage(comparison).change_percent.low < 30 < stage(comparison).change_percent.high
    assert any("kept frames" in note for note in comparison.notes)


def test_kept_frames_count_as_often_as_they_stand_for_others(tmp_path):
    a, b = pair(tmp_path, varied(2, 1), varied(2, 2), keep_every=1)
    with closing(schema.connect(tmp_path / "b.db")) as connection:
        connection.execute("UPDATE frames SET invoke_ns = 50000000, stands_for = 9 WHERE id % 4 = 0")
    assert stage(compare(a, b, ["invoke"]), "invoke").b_ms == pytest.approx(50, rel=0.01)


def test_windows_and_kept_frames_of_several_boots_follow_each_other(tmp_path):
    runs = [varied(3, 1), varied(3, 2, 1.2)]
    journal = record(tmp_path / "a.db", runs, 1, keep_every=2)
    with closing(schema.connect(journal)) as connection:
        connection.execute("UPDATE frames SET monotonic_ns = monotonic_ns % 86400000000000 WHERE run_id = 2")
    comparison = compare(str(journal), f"{journal}:2", ["invoke"])
    assert (comparison.a.basis, comparison.a.blocks, comparison.a.compared) == ("kept frames", 20, 900)
    assert 12.5 < comparison.stages[0].a_ms < 14 < comparison.stages[0].b_ms < 15


def test_a_long_recording_is_cut_into_few_stretches(tmp_path):
    a, b = pair(tmp_path, varied(150, 1, frames=20), varied(31, 2, frames=20))
    comparison = compare(a, b, ["age"])
    assert (comparison.a.blocks, comparison.b.blocks) == (12, 8)
    assert (comparison.a.compared, comparison.b.compared) == (3000, 620)


def test_runs_of_one_journal(tmp_path):
    runs = [varied(10, number, slower) for number, slower in enumerate((1.0, 1.2, 0.7))]
    journal = record(tmp_path / "a:b.db", runs, 1)
    told = {text: compare(f"{journal}:1", f"{journal}:{text}", ["age"]).b.runs for text in ("2", "3", "last", "run-2")}
    assert told == {"2": ["run-2"], "3": ["run-3"], "last": ["run-3"], "run-2": ["run-2"]}
    whole = compare(str(journal), f"{journal}:last", ["age"])
    assert whole.a.runs == ["run-1", "run-2", "run-3"]
    assert stage(whole).verdict == "better"


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ("4", "has no run '4': give 1 (run-1), 2 (run-2), or last."),
        ("0", "has no run '0': give 1 (run-1), 2 (run-2), or last."),
        ("run", "has 2 runs that begin with 'run': give 1 (run-1), 2 (run-2), or last."),
        ("", "has no run '': give 1 (run-1), 2 (run-2), or last."),
        ("²", "has no run '²': give 1 (run-1), 2 (run-2), or last."),
    ],
)
def test_an_unknown_run(tmp_path, run, sentence):
    journal = record(tmp_path / "a.db", [varied(1, 1), varied(1, 2)], 1)
    with pytest.raises(JournalError) as caught:
        compare(str(journal), f"{journal}:{run}")
    assert str(caught.value) == f"{journal} {sentence}"


def test_a_journal_without_runs_and_none_at_all(tmp_path):
    a = record(tmp_path / "a.db", [varied(1, 1)], 1)
    empty = record(tmp_path / "empty.db", [], 1)
    with pytest.raises(JournalError, match="holds no run"):
        compare(str(a), str(empty))
    with pytest.raises(JournalError, match=r"No journal .*none\.db"):
        compare(str(a), str(tmp_path / "none.db"))


def test_a_damaged_window_is_told_and_a_damaged_frame_is_an_error(tmp_path):
    a, b = pair(tmp_path, varied(10, 1), varied(10, 2), keep_every=10)
    with closing(schema.connect(tmp_path / "b.db")) as connection:
        connection.execute("UPDATE windows SET histograms = x'00' WHERE id = 3")
        comparison = compare(a, b, ["age"])
        assert (comparison.b.blocks, comparison.b.compared) == (8, 2700)
        assert any(note.startswith("B has damaged windows, 1 in all") for note in comparison.notes)
        connection.execute("UPDATE windows SET histograms = x'00'")
        assert compare(a, b, ["age"]).b.basis == "kept frames"
        connection.execute("UPDATE frames SET invoke_ns = -5 WHERE id = 7")
    with pytest.raises(JournalError, match=r"A row of the frames in .* is damaged"):
        compare(a, b, ["age"])
