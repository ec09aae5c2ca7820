"""The sample: every frame counted once, weights that add up, and an accuracy without bias."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.records import Frame, Prediction, Record, Timings
from edge.review.strata import STRATA, Kept, Strata, block_ns

PIXELS = np.zeros((1, 1, 3), np.uint8)
UNSURE_BELOW = 0.5


def record(sequence: int, at_ns: int, class_id: int, score: float) -> Record:
    return Record(
        run="00ff",
        sequence=sequence,
        utc="2026-01-01T00:00:00.000+00:00",
        monotonic_ns=at_ns,
        timings=Timings(0, 0, 0, 0),
        predictions=(Prediction(class_id, str(class_id), score),),
        backend="cpu",
    )


def sample(length_ns: int, seed: int, stream: Iterable[tuple[int, int, float]]) -> list[list[Kept]]:
    """The blocks of a stream of (nanosecond, class id, score)."""
    strata = Strata(length_ns, UNSURE_BELOW, random.Random(seed))
    blocks = []
    for sequence, (at_ns, class_id, score) in enumerate(stream):
        if strata.is_over(at_ns):
            blocks.append(strata.close())
        strata.see(Frame(PIXELS, sequence, at_ns), record(sequence, at_ns, class_id, score))
    return [*blocks, strata.close()]


def expected(length_ns: int, stream: list[tuple[int, int, float]]) -> list[Counter[str]]:
    """Frames of each stratum in each block, told from the definition."""
    blocks: list[Counter[str]] = []
    began_ns = None
    for index, (at_ns, class_id, score) in enumerate(stream):
        if began_ns is None or at_ns >= began_ns + length_ns:
            began_ns = at_ns
            blocks.append(Counter())
        changed = index > 0 and stream[index - 1][1] != class_id
        blocks[-1]["changed" if changed else "unsure" if score < UNSURE_BELOW else "ordinary"] += 1
    return blocks


streams = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.floats(0, 1))).map(
    lambda steps: [
        (sum(step for step, _, _ in steps[: index + 1]), class_id, score)
        for index, (_, class_id, score) in enumerate(steps)
    ]
)


@given(streams, st.integers(1, 100), st.integers(0, 5))
def test_the_pictures_of_a_block_stand_for_all_of_its_frames(
    stream: list[tuple[int, int, float]], length_ns: int, seed: int
) -> None:
    blocks = sample(length_ns, seed, stream)
    assert [{kept.stratum: kept.stands_for for kept in block} for block in blocks] == (
        [dict(counts) for counts in expected(length_ns, stream)] or [{}]
    )
    assert all(len(block) <= len(STRATA) for block in blocks)
    for block in blocks:
        for kept in block:
            best = kept.candidate.record.predictions[0]
            assert kept.stratum != "unsure" or best.score < UNSURE_BELOW
            assert kept.stratum != "ordinary" or best.score >= UNSURE_BELOW


def test_each_frame_of_a_stratum_is_as_likely_as_any_other() -> None:
    chosen = Counter()
    for seed in range(2_000):
        (block,) = sample(100, seed, [(at, 0, 0.9) for at in range(8)])
        chosen[block[0].candidate.record.sequence] += 1
    assert set(chosen) == set(range(8))
    # 250 each; five standard deviations of a binomial count are 74
    assert all(abs(count - 250) < 75 for count in chosen.values())


def test_weights_take_out_the_bias_of_choosing_what_is_odd() -> None:
    # The model is mostly right where it is sure and steady, and mostly wrong elsewhere: as in life.
    draw = random.Random(7)
    stream = []
    for at in range(1_200):
        kind = draw.random()
        stream.append((at, int(kind < 0.03), 0.3 if kind > 0.9 else 0.9))
    right = []
    for index, (_, class_id, score) in enumerate(stream):
        changed = index > 0 and stream[index - 1][1] != class_id
        right.append(draw.random() < (0.2 if changed else 0.4 if score < UNSURE_BELOW else 0.95))
    truth = np.mean(right)
    weighted, plain = [], []
    for seed in range(200):
        kept = [each for block in sample(100, seed, stream) for each in block]
        hits = np.array([right[each.candidate.record.sequence] for each in kept])
        weighted.append(np.average(hits, weights=[each.stands_for for each in kept]))
        plain.append(hits.mean())
    error = np.std(weighted, ddof=1) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - truth) < 3 * error
    assert truth - np.mean(plain) > 0.1


def test_a_day_of_blocks_has_no_more_pictures_than_it_may() -> None:
    for most in (1, 2, 3, 7, 200, 100_000):
        assert 86_400_000_000_000 / block_ns(most) * len(STRATA) <= most
    assert block_ns(200) == 1_296_000_000_000
