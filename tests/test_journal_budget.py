"""How many frames get a row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.journal.budget import DAY_S, Budget, Written
from tests.journaling import NS

DAY_BYTES = 20_000_000
COMMIT_BYTES, ROW_BYTES, WINDOW_BYTES = 900, 210, 3_000
"""About what is written for each, the file's part and the log's."""


def made(day_bytes: int = DAY_BYTES, seed: int = 0) -> Budget:
    return Budget(day_bytes, 5.0, 0, seed)


def recorded(budget: Budget, fps: float, seconds: int, start_s: float = 0.0) -> Iterator[tuple[int, int, int]]:
    """Frames, their rows and bytes of each batch of a time in which it is recorded."""
    at_s, frames_until = start_s, 0
    while at_s < start_s + seconds:
        before_s, at_s = at_s, at_s + budget.batch_s
        frames = int((at_s - start_s) * fps) - frames_until
        frames_until += frames
        kept = sum(budget.keeps() for _ in range(frames))
        windows = int(at_s // 60) - int(before_s // 60)
        spent = COMMIT_BYTES * (kept > 0 or windows > 0) + ROW_BYTES * kept + WINDOW_BYTES * windows
        budget.spend(spent, round(at_s * NS))
        yield frames, kept, spent


@pytest.mark.parametrize("fps", [0.2, 2.0, 10.0, 30.0])
def test_a_day_stays_within_its_bytes(fps: float) -> None:
    told = list(recorded(made(), fps, DAY_S))
    spent = sum(each[2] for each in told)
    assert spent <= DAY_BYTES * 1.1
    unthinned = sum(frames for frames, _, _ in told) * ROW_BYTES
    assert spent >= min(DAY_BYTES * 0.4, unthinned), "it keeps fewer than it could"


@pytest.mark.parametrize("day_bytes", [DAY_BYTES, 1_000_000])
def test_a_frame_a_minute_is_never_thinned(day_bytes: int) -> None:
    told = list(recorded(made(day_bytes), 1 / 60, DAY_S))
    assert sum(frames for frames, _, _ in told) == sum(kept for _, kept, _ in told) >= DAY_S // 60


def test_however_small_the_budget_a_row_a_minute_is_kept() -> None:
    told = list(recorded(made(100_000), 10, DAY_S // 4))
    assert sum(kept for _, kept, _ in told) >= DAY_S // 4 // 60 * 0.9


def test_when_the_rate_falls_all_are_kept_again() -> None:
    budget = made()
    list(recorded(budget, 30, DAY_S // 4))
    assert budget.keep_every > 4
    told = list(recorded(budget, 1 / 60, DAY_S // 2, start_s=DAY_S // 4))
    assert (budget.keep_every, budget.batch_s) == (1, 5.0)
    rested = told[len(told) // 2 :]
    assert sum(frames for frames, _, _ in rested) == sum(kept for _, kept, _ in rested) > 0


@given(
    st.integers(1, 2000),
    st.lists(st.tuples(st.integers(1, 300), st.integers(0, 400_000)), max_size=40),
    st.integers(0, 9),
)
def test_rows_stand_for_the_frames_within_a_block_of_each_rate(
    first: int, spans: list[tuple[int, int]], seed: int
) -> None:
    budget, now_ns = made(1_000_000, seed), 0
    seen = stood = slack = 0
    for frames, spent in [(first, 0), *spans]:
        for _ in range(frames):
            seen += 1
            if budget.keeps():
                stood += budget.stands_for
        now_ns += 601 * NS
        before = budget.keep_every
        budget.spend(spent, now_ns)
        slack += before if budget.keep_every < before else 0
    assert abs(stood - seen) <= slack + max(budget.keep_every, budget.stands_for)


def thinned_to(every: int, seed: int) -> Budget:
    """A budget that keeps one frame of so many."""
    budget, now_ns = made(1_000_000, seed), 0
    while budget.keep_every < every:
        for _ in range(20 * every):
            budget.keeps()
        now_ns += 601 * NS
        budget.spend(round(601 * 1_000_000 / DAY_S * 2), now_ns)
    assert budget.keep_every == every
    while not budget.keeps() or budget.stands_for != every:  # until the blocks before are over
        pass
    return budget


def test_each_place_of_a_block_is_as_likely() -> None:
    every, blocks = 16, 4_000
    budget = thinned_to(every, seed=7)
    gaps, last = [], 0
    for index in range(1, every * blocks):
        if budget.keeps():
            gaps.append(index - last)
            last = index
    # Differences of two uniform places, a block apart: triangular from 1 to 2 * 16 - 1.
    counts = Counter(gaps)
    expected = {gap: len(gaps) * (every - abs(gap - every)) / every**2 for gap in range(1, 2 * every)}
    chi2 = sum((counts[gap] - wanted) ** 2 / wanted for gap, wanted in expected.items())
    assert chi2 < 30 + 4 * math.sqrt(2 * 30)
    assert set(counts) <= set(expected)


def test_a_scene_with_a_period_is_seen_in_all_its_phases() -> None:
    budget = thinned_to(8, seed=3)
    phases = Counter(index % 8 for index in range(80_000) if budget.keeps())
    assert min(phases.values()) > 0.85 * 10_000 / 8
    assert max(phases.values()) < 1.15 * 10_000 / 8


def test_on_average_rows_stand_for_the_frames_also_when_blocks_end_early() -> None:
    off, seeds = 0, 800
    for seed in range(seeds):
        budget = thinned_to(8, seed)
        before, after = 20 + seed % 8, 40
        stood = sum(budget.keeps() and budget.stands_for for _ in range(before))
        for day in (1, 2, 3):
            budget.spend(0, day * 10**6 * NS)
        assert budget.keep_every < 8
        stood += sum(budget.keeps() and budget.stands_for for _ in range(after))
        off += stood - before - after
    # It began behind the row of a block of 8, so that on average 3.5 frames were stood for before.
    assert off / seeds == pytest.approx(-3.5, abs=0.6)


@pytest.mark.parametrize("run_s", [30, 90])
def test_a_program_that_is_started_again_and_again_has_one_budget(run_s: int) -> None:
    budget, spent, hours = made(86_400_000), 0, 6
    for _ in range(hours * 3600 // run_s):  # each begins anew, and would write a megabyte a minute with all rows
        began, budget = budget, made(86_400_000)
        budget.resume(began.kept(run_s * NS), 0)
        for _ in range(10 * run_s):
            budget.keeps()
        cost = round(1_000_000 * run_s / 60 / budget.keep_every * min(1.0, 20 / budget.batch_s))
        budget.spend(cost, run_s * NS)
        spent += cost
    assert spent < hours * 3_600_000 + 2 * 3_600_000
    later = made(86_400_000)
    later.resume(budget.kept(10_000 * NS), 0)
    assert (later.keep_every, later.batch_s) == (1, 5.0)


def test_what_a_thread_writes_is_counted(tmp_path: Path) -> None:
    written = Written()
    (tmp_path / "a").write_bytes(bytes(100_000))
    assert 100_000 <= written.since() < 300_000
    assert written.since() == 0
