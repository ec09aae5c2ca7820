"""What a journal comes to, in a few sentences and key figures."""

from __future__ import annotations

import msgspec

from edge.report.drawn import head
from edge.report.figures import Event, JournalFigures
from tests import reports


def tiles(journal: JournalFigures) -> dict[str, tuple[str, str]]:
    return {tile.name: (tile.value, tile.about) for tile in head.tiles(journal)}


def test_the_answer_in_words() -> None:
    journal = reports.journal()
    age = journal.latency["steady"]["age"]
    told = " ".join(head.sentences(journal))
    assert "Raspberry Pi 4 Model B Rev 1.2 ran efficientnet_lite0_greenhouse" in told
    assert "for 28 d 12 h out of 30 d and classified 25,660,800 frames, 10.4 a second" in told
    assert f"at most {age.p50:.1f} ms old, nine in ten at most {age.p90:.1f} ms" in told
    assert "was held back during 4.8 % of the frames (frequency capped)" in told
    assert (
        "right in 91.1 % of the frames (95 % interval 89.3 to 92.6 %; looked at: 1,126 frames; truth: reviewed" in told
    )
    assert "What went wrong: throttled (25 times), camera lost (once), clock jumped (once) and disk low (once)." in told


def test_key_figures_rest_on_something() -> None:
    told = tiles(reports.journal())
    assert told["Frames"] == ("25,660,800", "10.4 a second over 28 d 12 h")
    assert told["Right (labels)"] == ("87.8 %", "of 1,126 frames; 95 % interval 85.8 to 89.6 %")
    assert told["Throttled"] == ("4.8 %", "of the frames; frequency capped")
    assert told["Not classified"][1] == "1.8 % of all; busy 412,331, rate 51,120"


def test_frames_that_a_gate_kept_back_are_no_fault() -> None:
    journal = reports.journal(days=1, count=4, frames=1_000, unchanged=99_000, drops={})
    told = tiles(journal)
    assert told["Unchanged"] == ("99,000", "99.0 % of all; the gate kept them back, as asked")
    assert told["Not classified"] == ("0", "every frame that had changed was")
    busy = tiles(msgspec.structs.replace(journal, drops={"busy": 250}))
    assert busy["Not classified"] == ("250", "20.0 % of changed ones; busy 250")
    assert "Unchanged" not in tiles(reports.journal())


def test_what_is_not_known_is_never_a_number() -> None:
    journal = reports.scarce().journals[0]
    told = tiles(journal)
    assert [told[name][0] for name in ("Temperature", "Throttled", "Right")] == ["not known"] * 3
    words = " ".join(head.sentences(journal))
    assert "How often it was right is not known" in words
    assert "°C" not in words
    assert "held back" not in words
    assert "Nothing is recorded that went wrong." in words


def test_too_few_samples_for_a_percentile_say_so() -> None:
    journal = reports.journal(days=0.01, count=2, latency=reports.latencies(1.0, steady=30), events=[])
    assert tiles(journal)["Age of an answer"][1] == "median; insufficient (30 of 64 samples)"
    assert "nine in ten" not in " ".join(head.sentences(journal))
    fewer = msgspec.structs.replace(journal, latency=reports.latencies(1.0, steady=5))
    assert tiles(fewer)["Age of an answer"] == ("too few", "insufficient (5 of 11 samples)")


def test_a_board_that_was_always_held_back() -> None:
    journal = reports.journal(days=1, count=4, latency=reports.latencies(1.0, steady=0, throttled=9_000))
    assert head.throttled_share(journal) == 1.0
    assert "from capture to result, while throttled." in " ".join(head.sentences(journal))


def test_where_throttling_is_not_known_nothing_is_said_of_it() -> None:
    journal = reports.journal(days=1, count=4, latency=reports.latencies(1.0, steady=9_000, warm_up=50))
    assert "from capture to result." in " ".join(head.sentences(journal))


def test_no_frame() -> None:
    journal = reports.nothing().journals[0]
    assert head.sentences(journal) == ["No frame was recorded."]
    assert head.tiles(journal) == []
    assert head.period(journal) == "no time recorded"


def test_ends_of_trouble_are_no_trouble() -> None:
    kinds = ["started", "under-voltage", "under-voltage over", "camera lost", "camera found", "truth set", "stopped"]
    assert [kind for kind in kinds if head.is_trouble(kind)] == ["under-voltage", "camera lost"]


def test_a_run_that_ended_without_a_word_went_wrong_unless_it_is_the_newest() -> None:
    ended = reports.run("r1", 0.0, 10.0, ended_because=None)
    newest = reports.run("r2", 20.0, 30.0, ended_because=None)
    journal = reports.journal(days=1, count=2, events=[], runs=[ended, newest], unrecorded=3)
    assert head.what_went_wrong(journal) == (
        "What went wrong: 1 run that ended without a word and 3 frames that the journal could not take."
    )
    many = [Event(float(number), "r1", f"trouble {number}", {}) for number in range(9)]
    assert "3 other kinds of events" in head.what_went_wrong(msgspec.structs.replace(journal, events=many))


def test_temperature_is_weighted_by_time() -> None:
    journal = reports.journal(days=1, count=2)
    first, second = journal.moments
    first = msgspec.structs.replace(first, to_utc_s=first.from_utc_s + 10.0, temperature_c=(40.0, 50.0, 60.0))
    second = msgspec.structs.replace(second, to_utc_s=second.from_utc_s + 30.0, temperature_c=(60.0, 70.0, 80.0))
    assert head.temperature(msgspec.structs.replace(journal, moments=[first, second])) == (40.0, 65.0, 80.0)
