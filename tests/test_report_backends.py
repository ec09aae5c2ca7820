"""Which backend answered, in all that is told of journals: no answer of the CPU among those of an accelerator."""

from __future__ import annotations

import csv
import html
import io
import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.histogram import Histogram
from edge.journal import schema
from edge.journal.packing import STATES
from edge.journal.sink import Journal
from edge.report.backends import apart, backend_of, state_of
from edge.report.comparison.compare import Comparison, compare
from edge.report.comparison.text import text_of, verdict
from edge.report.drawn.head import sentences, tiles
from edge.report.drawn.tables import events, latency, machine, runs, side_by_side
from edge.report.exports.export import write
from edge.report.figures import JournalFigures
from edge.report.gather import gather
from tests.journaling import NS, facts, record, settings
from tests.journals import BOOTED_NS, insert, make_journal

STAND_IN = "edgetpu-standin"
MINUTES = 6


def made(path: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {"minutes": MINUTES, "fps": 5.0, "keep_every": 1, "backend": "edgetpu", **changes}
    return make_journal(path, **values)


def figures(path: Path) -> JournalFigures:
    return gather([path]).journals[0]


def exported(path: Path, table: str) -> list[dict[str, str]]:
    out = io.BytesIO()
    write(path, table, "csv", out)
    return list(csv.DictReader(io.StringIO(out.getvalue().decode())))


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One whose accelerator was lost twice, one that never had it, one of a stand-in, and one of several backends."""
    folder = tmp_path_factory.mktemp("journals")
    made_of = {
        "lost": made(folder / "lost.db", lost=(1, 2)),
        "never": made(folder / "never.db", lost=range(MINUTES)),
        "standin": made(folder / "standin.db", backend=STAND_IN, lost=(1,)),
        "several": made(folder / "several.db", runs=2, slower=0.5),
        "cpu": made(folder / "cpu.db", backend="cpu"),
    }
    with closing(schema.connect(made_of["several"])) as connection:
        connection.execute("UPDATE runs SET backend = 'cpu' WHERE id = 1")
    return made_of


@given(st.lists(st.tuples(st.sampled_from(["cpu", "edgetpu", STAND_IN]), st.sampled_from(STATES), st.integers(1, 99))))
def test_no_two_backends_share_a_histogram(answers: list[tuple[str, str, int]]) -> None:
    by_backend: dict[str, dict[str, dict[str, Histogram]]] = {}
    for backend, state, value_ns in answers:
        by_backend.setdefault(backend, {}).setdefault(state, {}).setdefault("age", Histogram()).add([value_ns])
    used = {backend for backend, _, _ in answers}
    expected = Counter((state, None if state == "fallback" else backend) for backend, state, _ in answers)
    told: Counter[tuple[str, Any]] = Counter()
    for name, stages in apart(by_backend).items():
        said = backend_of(name)
        if said is None and state_of(name) != "fallback":
            (said,) = used  # it goes without saying
            assert said != STAND_IN
        told[state_of(name), said] += stages["age"].samples
    assert told == expected


def test_the_figures_tell_what_the_cpu_answered_apart(journals: dict[str, Path]) -> None:
    told, rows = figures(journals["lost"]), exported(journals["lost"], "frames")
    states = Counter(row["state"] for row in rows)
    assert states["fallback"] > 200
    assert {state: stages["invoke"].samples for state, stages in told.latency.items()} == states
    assert told.runs[0].states == states
    cpu_ms, own_ms = told.latency["fallback"]["invoke"], told.latency["steady"]["invoke"]
    assert cpu_ms.p50 is not None
    assert own_ms.p50 is not None
    assert cpu_ms.p50 > 3 * own_ms.p50
    assert sum(moment.fallback for moment in told.moments) == states["fallback"]
    fallen = told.moments[1]
    assert fallen.fallback_stages["invoke"][0] == pytest.approx(cpu_ms.p50, rel=0.2)
    assert fallen.stages["invoke"][0] == pytest.approx(own_ms.p50, rel=0.2)
    assert not told.moments[0].fallback_stages


def test_runs_for_several_backends_stay_apart_in_one_journal_and_in_many(journals: dict[str, Path]) -> None:
    told = figures(journals["several"])
    assert {name for name in told.latency if state_of(name) == "steady"} == {"steady on cpu", "steady on edgetpu"}
    assert "There are runs for several backends (cpu and edgetpu): their latencies are told apart." in told.notes
    merged = gather([journals["lost"], journals["cpu"], journals["standin"]]).latency
    names = {f"{state} on {backend}" for state in STATES[:3] for backend in ("cpu", "edgetpu", STAND_IN)}
    assert set(merged) == {*names, "fallback"}
    assert set(gather([journals["cpu"]]).latency) == set(STATES[:3])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "lost",
            [
                "of the frames in runs for edgetpu were answered by the CPU",
                "backend lost 2 times (stalled, died), and back after 40 s at most",
                "Accuracy is of all answers, the CPU's among them",
            ],
        ),
        ("never", ["No frame was answered by edgetpu: all were by the CPU in its place, as is all latency here"]),
        ("standin", ["edgetpu-standin is no Edge TPU but a stand-in", "its latency says nothing of an Edge TPU's."]),
        ("cpu", []),
    ],
)
def test_notes_say_who_answered(journals: dict[str, Path], name: str, parts: list[str]) -> None:
    notes = " ".join(figures(journals[name]).notes)
    assert all(part in notes for part in parts), notes
    assert ("CPU" in notes) == (name != "cpu")


def test_what_goes_wrong_before_an_accelerator_is_found_is_one_loss(tmp_path: Path) -> None:
    path = made(tmp_path / "j.db", minutes=2, lost=(0,))
    with closing(schema.connect(path)) as connection:
        for late_s, device in ((1, 0), (2, 0), (3, 1)):
            detail = json.dumps({"backend": "edgetpu", "device": f"usb:{device}", "cause": "refused", "why": "busy"})
            insert(
                connection, "events", monotonic_ns=BOOTED_NS + (20 + late_s) * NS, kind="backend lost", detail=detail
            )
    notes = " ".join(figures(path).notes)
    assert "backend lost 2 times (refused 3 times, died), and back after 40 s at most" in notes


def test_a_frame_without_any_backend_is_told_of_in_words(tmp_path: Path) -> None:
    path = made(tmp_path / "j.db", minutes=2)
    with closing(schema.connect(path)) as connection:
        connection.execute("UPDATE windows SET drops = '{\"no backend\": 40}' WHERE id = 1")
    told = figures(path)
    assert any(note.startswith("40 frames were not classified because there was no backend") for note in told.notes)
    (tile,) = (tile for tile in tiles(told) if tile.name == "Not classified")
    assert "no backend that works 40" in tile.about


def test_the_head_says_whose_latency_it_is(journals: dict[str, Path]) -> None:
    heads = {name: " ".join(sentences(figures(path))) for name, path in journals.items()}
    key = {name: {tile.name: tile for tile in tiles(figures(path))} for name, path in journals.items()}
    assert "Half of the answers by edgetpu were at most" in heads["lost"]
    assert "of the frames in place of edgetpu; half of those were at most" in heads["lost"]
    assert "where the CPU answered" in key["lost"]["Age of an answer"].about
    assert key["lost"]["Answered by the CPU"].alarming
    assert "Half of the answers by the CPU, in place of edgetpu, were at most" in heads["never"]
    assert "all by the CPU" in key["never"]["Model alone"].about
    assert key["never"]["Answered by the CPU"].value == "100.0 %"
    assert key["never"]["Throttled"].value == "not known"
    assert "a stand-in whose latency is no Edge TPU's" in heads["standin"]
    assert "on edgetpu-standin" in key["standin"]["Age of an answer"].about
    assert "Half of the answers by cpu were at most" in heads["several"]
    assert key["several"]["Answered by the CPU"] == (
        "Answered by the CPU",
        "0.0 %",
        "of the frames, in place of edgetpu",
        False,
    )
    assert "Half of the answers were at most" in heads["cpu"]
    assert "Answered by the CPU" not in key["cpu"]


def test_tables_name_the_backend(journals: dict[str, Path]) -> None:
    told = {name: figures(path) for name, path in journals.items()}
    assert list(latency(told["lost"].latency)) == ["steady", "throttled", "fallback: the CPU answered", "warm-up"]
    assert "edgetpu, 4 threads; the CPU for 22." in runs(told["lost"])[0][6]
    assert runs(told["standin"])[0][6].startswith("edgetpu-standin, a stand-in whose latency is no Edge TPU's, 4 ")
    assert machine(told["never"]).endswith("; edgetpu; 100.0 % by the CPU instead")
    assert side_by_side([told["never"]])[0][3:6] == ["not known"] * 3
    assert side_by_side([told["several"]])[0][3].endswith(" (cpu)")
    details = [(kind, detail) for _, kind, trouble, detail in events(told["lost"]) if "back" in kind]
    assert details[:3] == [
        ("backend lost", "edgetpu on usb:0 (stalled): no answer in 2 s"),
        ("fell back", "to cpu: no answer in 2 s"),
        ("backend found", "edgetpu on usb:0, after 40 s"),
    ]


def test_pages_draw_who_answered(journals: dict[str, Path]) -> None:
    pytest.importorskip("jinja2", reason="Jinja2 is not installed (extra: report)")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: report)")
    from edge.report.drawn.page import page

    lost, never = (page(gather([journals[name]])) for name in ("lost", "never"))
    assert "age and invoke where the CPU answered instead" in lost
    assert "of them by the CPU instead" in lost
    assert "age and invoke where" not in never  # there is nothing beside it
    assert "The median age of a span, answered by the CPU instead, lay between" in never
    both = page(gather(list(journals.values())))
    assert "Answered by the CPU in another backend's place" in html.unescape(both)
    assert "standin ran on a stand-in: its latency is no Edge TPU's." in html.unescape(both)


def test_an_export_names_the_backend_of_every_frame(journals: dict[str, Path]) -> None:
    rows = exported(journals["lost"], "frames")
    assert {(row["state"], row["backend"]) for row in rows} == {
        ("steady", "edgetpu"),
        ("warm-up", "edgetpu"),
        ("throttled", "edgetpu"),
        ("fallback", "cpu"),
    }
    windows = exported(journals["lost"], "windows")
    assert sum(int(row["samples_fallback"]) for row in windows) == sum(row["state"] == "fallback" for row in rows)
    assert float(windows[1]["invoke_p50_ms"]) == pytest.approx(float(windows[0]["invoke_p50_ms"]), rel=0.2)
    assert {row["invoke_p50_ms"] for row in exported(journals["never"], "windows")} == {""}


def test_a_run_that_is_recorded_tells_it_all(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(settings(path), facts(backend="edgetpu"))
    for number, backend in enumerate(["edgetpu", "cpu", "cpu", "edgetpu", "edgetpu"]):
        journal.write(record(number, (1_000 + number) * NS, backend=backend))
    journal.close()
    rows = exported(path, "frames")
    assert [row["backend"] for row in rows] == ["edgetpu", "cpu", "cpu", "edgetpu", "edgetpu"]
    assert [row["state"] for row in rows] == ["warm-up", "fallback", "fallback", "warm-up", "steady"]
    assert figures(path).runs[0].states == {"warm-up": 2, "fallback": 2, "steady": 1}


def test_a_run_that_begins_without_its_accelerator_learns_which_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(settings(path), facts(backend="edgetpu"))
    for number, backend in enumerate(["cpu", STAND_IN, "cpu", STAND_IN]):
        journal.write(record(number, (1_000 + number) * NS, backend=backend))
        journal.event("something")  # all so far is written
    journal.close()
    assert [row["backend"] for row in exported(path, "frames")] == ["cpu", STAND_IN, "cpu", STAND_IN]
    assert figures(path).runs[0].backend == STAND_IN
    assert set(figures(path).latency) == {"fallback", f"warm-up on {STAND_IN}"}


def compared(journals: dict[str, Path], a: str, b: str) -> Comparison:
    return compare(str(journals[a]), str(journals[b]), ["invoke"])


def test_a_comparison_takes_no_answer_of_the_cpu_for_an_accelerators(journals: dict[str, Path]) -> None:
    comparison = compared(journals, "cpu", "lost")
    assert comparison.b.compared == comparison.b.samples["steady"]
    assert comparison.b.samples["fallback"] > 200
    a_ms, b_ms = comparison.stages[0].a_ms, comparison.stages[0].b_ms
    assert a_ms is not None
    assert b_ms == pytest.approx(a_ms, rel=0.1)
    assert "answered by the CPU instead" in {each.what for each in comparison.differs}
    assert any(note.startswith("In B the CPU answered 22.") for note in comparison.notes)
    assert f"{comparison.b.samples['fallback']} answered by the CPU instead." in text_of(comparison)


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        ("cpu", "never", f"B has no steady samples (only {MINUTES * 300:,} answered by the CPU instead)"),
        ("several", "cpu", "A mixes runs for several backends"),
    ],
)
def test_what_cannot_be_compared_says_why(journals: dict[str, Path], a: str, b: str, reason: str) -> None:
    comparison = compared(journals, a, b)
    assert (comparison.stages[0].verdict, comparison.stages[0].reason) == ("cannot tell", reason)
    assert reason in verdict(comparison)


def test_a_comparison_says_what_is_a_stand_in(journals: dict[str, Path]) -> None:
    comparison = compared(journals, "standin", "cpu")
    assert "A ran on edgetpu-standin, a stand-in whose latency is no Edge TPU's." in comparison.notes
    assert comparison.a.backends == [STAND_IN]
    assert {stage.verdict for stage in comparison.stages} == {"cannot tell"}
    assert "A ran on a stand-in, whose latency is nobody's" in verdict(comparison)
    assert "on edgetpu-standin, a stand-in" in text_of(comparison).splitlines()[0]
