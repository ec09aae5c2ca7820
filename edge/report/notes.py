"""What a reader should know before trusting a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edge.records import NO_BACKEND
from edge.report import backends
from edge.report.counts import Counts
from edge.report.figures import Accuracy, Event, Latencies, RunFigures
from edge.report.reading import Reader
from edge.report.stretches import FEWEST_BLOCKS
from edge.report.words import count, listed, looked_at, number, of, percent, span
from edge.stats import minimum_samples

_TABLES = {"windows": "minutes", "events": "events", "runs": "runs", "models": "models", "frames": "frames"}


def notes(
    reader: Reader,
    counts: Counts,
    runs: Sequence[RunFigures],
    latency: Latencies,
    accuracy: Sequence[Accuracy],
    events: Sequence[Event],
) -> list[str]:
    """Sentences about one journal.

    Args:
        reader: after all was read.
        counts: of all windows.
        runs: all of them.
        latency: of all windows.
        accuracy: of all sources.
        events: of all runs.
    """
    told = []
    if not reader.runs:
        told.append("The journal holds no runs: nothing was recorded yet.")
    elif not counts.windows:
        told.append("The journal holds no minutes yet: no frame was recorded for long enough.")
    if counts.unrecorded:
        told.append(f"{count(counts.unrecorded, 'frame was', 'frames were')} not recorded and count nowhere.")
    told += [
        f"{count(rows, *_words(table))} of the journal {'is' if rows == 1 else 'are'} damaged in part: "
        "what could not be read counts nowhere."
        for table, rows in sorted(reader.damaged.items())
        if rows
    ]
    if counts.windows and not counts.tells_throttling:
        told.append("This board tells no throttling: frames that it slowed down count as steady.")
    told += _of_stand_ins(runs)
    told += _of_fallback(runs, events)
    told += _of_unanswered(counts)
    told += _of_throttled(latency)
    told += _of_clocks(reader, events)
    told += _of_recording(events)
    told += _of_open(reader)
    told += [
        f"{count(each.unknown, 'frame has', 'frames have')} a truth ({each.source}) that is no class of {each.model}: "
        "counted in no share."
        for each in accuracy
        if each.unknown
    ]
    told += [sentence for each in accuracy for sentence in _of_accuracy(each)]
    if accuracy and backends.fallbacks(runs)[0]:
        told.append(
            "Accuracy is of all answers, the CPU's among them; `edge export` names the backend that gave each that was "
            "kept."
        )
    return told


def _of_stand_ins(runs: Sequence[RunFigures]) -> list[str]:
    used = list(dict.fromkeys(run.backend for run in runs))
    told = [
        f"{backend} is no Edge TPU but a stand-in, a program that takes its place in tests: its latency says nothing "
        "of an Edge TPU's."
        for backend in used
        if backends.is_stand_in(backend)
    ]
    if len(used) > 1:
        told.append(f"There are runs for several backends ({listed(used)}): their latencies are told apart.")
    return told


def _of_fallback(runs: Sequence[RunFigures], events: Sequence[Event]) -> list[str]:
    """How much the CPU answered in place of an accelerator, and how often that was lost."""
    fallen, whole = backends.fallbacks(runs)
    meant = listed(backends.accelerators(runs))
    lost = [event for event in events if event.kind == backends.LOST]
    causes = Counter(str(event.detail.get("cause") or "not told") for event in lost)
    how = ", ".join(cause if times == 1 else f"{cause} {_times(times)}" for cause, times in causes.most_common())
    away_s = [event.detail.get("after") for event in events if event.kind == backends.FOUND]
    longest_s = max((each for each in away_s if isinstance(each, (int, float))), default=None)
    back = "" if longest_s is None else f", and back after {span(longest_s)} at most"
    happened = f"backend lost {_times(backends.times_lost(events))} ({how}){back}" if lost else ""
    if not fallen:
        return [f"{happened[0].upper()}{happened[1:]}."] if lost else []
    if fallen == whole:
        why = f": {happened}" if lost else ""
        return [f"No frame was answered by {meant}: all were by the CPU in its place, as is all latency here{why}."]
    return [
        f"{percent(of(fallen, whole))} of the frames in runs for {meant} were answered by the CPU "
        f"({number(fallen)} of {number(whole)}{'; ' if lost else ''}{happened}); their latency is told apart, as "
        "fallback."
    ]


def _of_unanswered(counts: Counts) -> list[str]:
    missed = counts.drops[NO_BACKEND]
    if not missed:
        return []
    return [
        f"{count(missed, 'frame was', 'frames were')} not classified because there was no backend: the accelerator "
        "did not work at the time, and nothing else was to answer in its place."
    ]


def _of_accuracy(told: Accuracy) -> list[str]:
    top1, top5 = told.top1, told.top5
    if not top1.total or told.stretches is None:
        return []
    name = f"{told.model} ({told.source})"
    if told.stretches < FEWEST_BLOCKS:
        sentences = [
            f"The truth is known in {count(told.stretches, 'minute')} only, too few to tell how much the accuracy of "
            f"{name} differs from one to another: its interval takes each frame for itself, though frames that follow "
            "each other are alike, so the true uncertainty is larger."
        ]
    else:
        sentences = [f"For the accuracy of {name} there were {looked_at(top1)}; the intervals are of so many."]
    if top5 is not None and top5.counted < top1.counted:
        sentences.append(
            f"Whether the truth was among the first five answers of {name} is known of kept frames only: "
            f"{number(top5.counted)}, which stand for {number(round(top5.total))} of {number(round(top1.total))}."
        )
    return sentences


def _of_throttled(latency: Latencies) -> list[str]:
    samples = backends.samples(latency)
    throttled, steady = samples.get("throttled", 0), samples.get("steady", 0)
    if not throttled:
        return []
    whole = throttled + steady
    told = (
        f"{count(throttled, 'frame')} of {number(whole)} ({percent(of(throttled, whole))}) came "
        "while the board was held back; their latency is told apart"
    )
    needed = minimum_samples(0.99)
    few = f", and is too little for a p99, which needs {needed}" if throttled < needed else ""
    return [f"{told}{few}."]


def _of_clocks(reader: Reader, events: Sequence[Event]) -> list[str]:
    told = []
    jumps = [event.detail.get("by_s") for event in events if event.kind == "clock jumped"]
    steps_s = [step for step in jumps if isinstance(step, (int, float))]
    if len(jumps) == 1:
        by = f"by {steps_s[0]:g} s" if steps_s else "once"
        told.append(f"The clock jumped {by}; times of that boot were set right.")
    elif jumps:
        most = f", by up to {max(steps_s, key=abs):g} s" if steps_s else ""
        told.append(f"The clock jumped {len(jumps)} times{most}; times of those boots were set right.")
    slept = sum(event.kind == "suspended" for event in events)
    if slept:
        told.append(f"The machine was suspended {_times(slept)}.")
    lost = [run.run for run in reader.runs.values() if not reader.has_clock(run.id)]
    if lost:
        told.append(f"Nobody knows what time it was in {_listed(lost)}: shown as if the machine had started in 1970.")
    return told


def _of_recording(events: Sequence[Event]) -> list[str]:
    told = []
    rows = Counter[str]()
    for event in events:
        rows[event.kind] += _number(event.detail.get("rows")) + _number(event.detail.get("rows_lost"))
    kinds = Counter(event.kind for event in events)
    if kinds["oldest frames deleted"]:
        gone = count(rows["oldest frames deleted"], "row of a frame was", "rows of frames were")
        told.append(f"{gone} deleted to keep the journal small; minutes count them on.")
    if rows["recording again"]:
        told.append(f"{count(rows['recording again'], 'row of a frame', 'rows of frames')} could not be written.")
    if kinds["not recording"]:
        why = next(str(event.detail.get("why")) for event in reversed(events) if event.kind == "not recording")
        told.append(f"The journal could not be written {_times(kinds['not recording'])}, at last because of: {why}.")
    if kinds["journal moved aside"]:
        names = [str(event.detail.get("name")) for event in events if event.kind == "journal moved aside"]
        told.append(f"A damaged journal was moved aside; what came before is in {_listed(names)}.")
    return told


def _of_open(reader: Reader) -> list[str]:
    open_runs = [run.run for run in reader.runs.values() if run.ended_ns is None]
    if not open_runs:
        return []
    have = "has" if len(open_runs) == 1 else "have"
    return [f"{_listed(open_runs)} {have} no end: running, or ended without a chance to say so."]


def _words(table: str) -> tuple[str, str]:
    many = _TABLES.get(table, table)
    return many.removesuffix("s"), many


def _times(times: int) -> str:
    return "once" if times == 1 else f"{number(times)} times"


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
