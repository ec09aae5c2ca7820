"""What a journal comes to: the key figures and a few sentences, for the head of its page."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Optional

from edge.records import NO_BACKEND
from edge.report import backends
from edge.report.figures import Accuracy, JournalFigures, Latency
from edge.report.words import (
    NOT_KNOWN,
    count,
    device,
    interval,
    listed,
    looked_at,
    models,
    ms,
    number,
    of,
    percent,
    short,
    span,
    utc,
)

# Everything else that is in a journal's events went wrong.
_ORDINARY = (
    *("started", "stopped", "reloaded", "truth set", "truth cleared", "oldest frames deleted", "recording again"),
    *("asleep", "awake"),
)
_GOOD_ENDS = (" found", " over")
"""As in "camera found" and "under-voltage over"."""
_KINDS = 6
_NAME = 60


class Tile(NamedTuple):
    """One key figure."""

    name: str
    value: str
    about: str
    """What it rests on, or more of it; may be empty."""
    alarming: bool = False


def tiles(journal: JournalFigures) -> list[Tile]:
    """The key figures of one journal; none without a frame."""
    if not journal.frames:
        return []
    return [
        _frames(journal),
        *(_latency(journal, stage, name) for stage, name in (("age", "Age of an answer"), ("invoke", "Model alone"))),
        *_fallback(journal),
        _temperature(journal),
        _throttled(journal),
        *([_accuracy(each) for each in journal.accuracy[:2]] or [_accuracy(None)]),
        _dropped(journal),
        *([_unchanged(journal)] if journal.unchanged else []),
    ]


def sentences(journal: JournalFigures) -> list[str]:
    """The same in words, with what went wrong."""
    if not journal.frames:
        return ["No frame was recorded."]
    told = [_ran(journal)]
    by, time, age = _of_most(journal, "age")
    if age is not None and age.p50 is not None:
        nine = "" if age.p90 is None else f", nine in ten at most {ms(age.p90)} ms"
        told.append(f"Half of the answers{by} were at most {ms(age.p50)} ms old{nine}, from capture to result{time}.")
    told += _fallen_back(journal)
    told += _hot(journal)
    told += [_accuracy_in_words(each) for each in journal.accuracy if each.top1.value is not None]
    if not any(each.top1.value is not None for each in journal.accuracy):
        told.append("How often it was right is not known: there is no truth to hold the answers against.")
    told.append(what_went_wrong(journal))
    return told


def what_went_wrong(journal: JournalFigures) -> str:
    """Events that are no ordinary ones, ends without a word, and what the journal could not take, in one sentence."""
    kinds = Counter(event.kind for event in journal.events if is_trouble(event.kind))
    parts = [f"{short(kind, _NAME)} ({_times(times)})" for kind, times in kinds.most_common(_KINDS)]
    if len(kinds) > _KINDS:
        parts.append(f"{count(len(kinds) - _KINDS, 'other kind')} of events")
    # The newest may be running still.
    silent = sum(run.ended_because is None for run in journal.runs[:-1])
    if silent:
        parts.append(f"{count(silent, 'run')} that ended without a word")
    if journal.unrecorded:
        parts.append(f"{count(journal.unrecorded, 'frame')} that the journal could not take")
    return f"What went wrong: {listed(parts)}." if parts else "Nothing is recorded that went wrong."


def is_trouble(kind: str) -> bool:
    """Whether an event of that kind is something that went wrong."""
    return kind not in _ORDINARY and not kind.endswith(_GOOD_ENDS)


def throttled_share(journal: JournalFigures) -> Optional[float]:
    """The share of frames that came while the board was held back, warm-up and fallback aside.

    None where the board tells nothing, or there are no other frames.
    """
    if not any(moment.throttled is not None for moment in journal.moments):
        return None
    samples = backends.samples(journal.latency)
    throttled = samples.get("throttled", 0)
    return of(throttled, throttled + samples.get("steady", 0))


def temperature(journal: JournalFigures) -> Optional[tuple[float, float, float]]:
    """Lowest, mean over time, and highest temperature in °C; None where the board tells none."""
    told = [(each.temperature_c, each.to_utc_s - each.from_utc_s) for each in journal.moments if each.temperature_c]
    seconds = sum(length_s for _, length_s in told)
    if not seconds:
        return None
    mean = sum(values[1] * length_s for values, length_s in told) / seconds
    return min(values[0] for values, _ in told), mean, max(values[2] for values, _ in told)


def drops_in_words(drops: dict[str, int]) -> str:
    """Reasons with their numbers, the most frequent first."""
    return ", ".join(
        f"{dropped_for(reason)} {number(each)}" for reason, each in sorted(drops.items(), key=lambda row: -row[1])
    )


def dropped_for(reason: str) -> str:
    """Why frames were not classified, for a person."""
    return "no backend that works" if reason == NO_BACKEND else short(reason, _NAME)


def title(accuracy: Accuracy, journal: JournalFigures) -> str:
    """Where the truth of an accuracy is from, with the model where there were several."""
    several = len({each.model for each in journal.accuracy}) > 1
    source = short(accuracy.source, _NAME)
    return f"{source}, {short(accuracy.model, _NAME)}" if several else source


def _ran(journal: JournalFigures) -> str:
    rate = of(journal.frames, journal.seconds)
    spoken = "" if rate is None else f", {number(rate)} a second"
    whole = None if journal.from_utc_s is None or journal.to_utc_s is None else journal.to_utc_s - journal.from_utc_s
    time = f"for {span(journal.seconds)}"
    # Less than a hundredth is no gap that anyone would ask about.
    if whole and journal.seconds < 0.99 * whole:
        time += f" out of {span(whole)}"
    board = "A board that does not tell its name" if device(journal) == NOT_KNOWN else device(journal)
    return f"{board} ran {models(journal)} {time} and classified {count(journal.frames, 'frame')}{spoken}."


def _of_most(journal: JournalFigures, stage: str) -> tuple[str, str, Optional[Latency]]:
    """By what the answers were that count most, while what, and how long a stage of them took.

    Those of the steady state; without any, those of the state with most samples.
    """
    name = backends.main_state(journal.latency, stage)
    if name is None:
        return "", "", None
    others = {backends.state_of(each) for each in journal.latency}
    state, meant = backends.state_of(name), listed(backends.accelerators(journal.runs))
    if state == "fallback":
        return f" by the CPU, in place of {meant},", "", journal.latency[name][stage]
    own = backends.backend_of(name) or ("fallback" in others and meant)
    held_back = ", while nothing held the board back" if "throttled" in others else ""
    time = held_back if state == "steady" else f", while {state}"
    return f" by {own}" if own else "", time, journal.latency[name][stage]


def _frames(journal: JournalFigures) -> Tile:
    rate = of(journal.frames, journal.seconds)
    about = "" if rate is None else f"{number(rate)} a second over {span(journal.seconds)}"
    return Tile("Frames", number(journal.frames), about)


def _latency(journal: JournalFigures, stage: str, name: str) -> Tile:
    main = backends.main_state(journal.latency, stage)
    told = None if main is None else journal.latency[main][stage]
    if main is None or told is None:
        return Tile(name, NOT_KNOWN, "")
    parts = [told.insufficient.get("p50", "")]
    if told.p50 is not None:
        nine = told.insufficient.get("p90", NOT_KNOWN) if told.p90 is None else f"p90 {ms(told.p90)} ms"
        parts = ["median", nine]
    if main == "fallback":
        parts.append("all by the CPU")
    elif backend := backends.backend_of(main):
        parts.append(f"on {backend}")
    held_back = main.replace("steady", "throttled")
    for state, called in ((held_back, "throttled"), ("fallback", "where the CPU answered")):
        other = journal.latency.get(state, {}).get(stage)
        if other is not None and other is not told and other.p50 is not None:
            parts.append(f"{called} {ms(other.p50)} ms")
    return Tile(name, "too few" if told.p50 is None else f"{ms(told.p50)} ms", "; ".join(parts))


def _fallback(journal: JournalFigures) -> list[Tile]:
    """How much the CPU answered in place of an accelerator; none where no run was for one."""
    meant = backends.accelerators(journal.runs)
    if not meant:
        return []
    fallen, whole = backends.fallbacks(journal.runs)
    if not whole:
        return []
    lost = backends.times_lost(journal.events)
    times = f"; it was lost {_times(lost)}" if lost else ""
    about = f"of the frames, in place of {listed(meant)}{times}"
    return [Tile("Answered by the CPU", percent(of(fallen, whole)), about, fallen > 0)]


def _fallen_back(journal: JournalFigures) -> list[str]:
    """One sentence of what the CPU answered in place of an accelerator beside that, or none."""
    fallen, whole = backends.fallbacks(journal.runs)
    if not fallen or fallen == whole:
        return []
    age = journal.latency.get("fallback", {}).get("age")
    old = "" if age is None or age.p50 is None else f"; half of those were at most {ms(age.p50)} ms old"
    meant = listed(backends.accelerators(journal.runs))
    return [f"The CPU answered {percent(of(fallen, whole))} of the frames in place of {meant}{old}."]


def _temperature(journal: JournalFigures) -> Tile:
    told = temperature(journal)
    if told is None:
        return Tile("Temperature", NOT_KNOWN, "the board tells none")
    low, mean, high = told
    return Tile("Temperature", f"{mean:.0f} °C", f"mean; from {low:.0f} to {high:.0f} °C")


def _throttled(journal: JournalFigures) -> Tile:
    value = throttled_share(journal)
    if value is None:
        apart = any(moment.throttled is not None for moment in journal.moments)
        return Tile("Throttled", NOT_KNOWN, "no frame to tell it of" if apart else "the board does not tell")
    return Tile(
        "Throttled", percent(value), f"of the frames; {', '.join(_held_by(journal)) or 'never held back'}", value > 0
    )


def _held_by(journal: JournalFigures) -> list[str]:
    return list(dict.fromkeys(word for moment in journal.moments for word in moment.throttled or ()))


def _hot(journal: JournalFigures) -> list[str]:
    """One sentence of how hot and how often held back it was, or none."""
    heat, held = temperature(journal), throttled_share(journal)
    parts = [] if heat is None else [f"was at {heat[1]:.0f} °C in the mean, {heat[2]:.0f} °C at most"]
    if held is not None:
        causes = f" ({', '.join(_held_by(journal))})" if held else ""
        parts.append(f"was held back during {percent(held)} of the frames{causes}" if held else "was never held back")
    return [f"The board {listed(parts)}."] if parts else []


def _accuracy(accuracy: Optional[Accuracy]) -> Tile:
    if accuracy is None or accuracy.top1.value is None:
        return Tile("Right", NOT_KNOWN, "no truth to hold the answers against")
    share = accuracy.top1
    about = f"of {looked_at(share)}; 95 % interval {interval(share)}"
    return Tile(f"Right ({short(accuracy.source, _NAME)})", percent(share.value), about)


def _accuracy_in_words(accuracy: Accuracy) -> str:
    share = accuracy.top1
    return (
        f"{short(accuracy.model, _NAME)} was right in {percent(share.value)} of the frames "
        f"(95 % interval {interval(share)}; "
        f"looked at: {looked_at(share)}; truth: {short(accuracy.source, _NAME)})."
    )


def _dropped(journal: JournalFigures) -> Tile:
    dropped, whole = sum(journal.drops.values()), "changed ones" if journal.unchanged else "all"
    if not dropped:
        every = "every frame that had changed was" if journal.unchanged else "every frame of the camera was"
        return Tile("Not classified", number(0), every)
    share = percent(of(dropped, dropped + journal.frames))
    return Tile("Not classified", number(dropped), f"{share} of {whole}; {drops_in_words(journal.drops)}")


def _unchanged(journal: JournalFigures) -> Tile:
    share = of(journal.unchanged, journal.unchanged + sum(journal.drops.values()) + journal.frames)
    return Tile("Unchanged", number(journal.unchanged), f"{percent(share)} of all; the gate kept them back, as asked")


def _times(times: int) -> str:
    return "once" if times == 1 else f"{number(times)} times"


def period(journal: JournalFigures) -> str:
    """From when to when, in UTC."""
    if journal.from_utc_s is None or journal.to_utc_s is None:
        return "no time recorded"
    return f"{utc(journal.from_utc_s)} to {utc(journal.to_utc_s)} UTC"
