"""The newest word on a frame or a span of time."""

from __future__ import annotations

from typing import Optional

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.report.accuracy.truths import CUT, NO_LABEL, Truths
from edge.report.rows import Label

MOMENTS = np.arange(-1, 13)
truths = st.sampled_from(["cat", "dog", None])
spans = st.tuples(st.integers(0, 10), st.integers(0, 10), truths, st.integers(0, 3))
frames = st.tuples(st.integers(1, 2), st.integers(0, 3), truths, st.integers(0, 3))


def span(number: int, from_ns: int, to_ns: int, truth: Optional[str], said_ns: int) -> Label:
    return Label(number, None, None, from_ns, to_ns, truth, "anna", said_ns)


def frame(number: int, run_id: int, sequence: int, truth: Optional[str], said_ns: int) -> Label:
    return Label(number, run_id, sequence, None, None, truth, "anna", said_ns)


def newest(labels: list[Label]) -> Optional[Label]:
    return max(labels, key=lambda label: label.id, default=None)


@given(st.lists(spans, max_size=6))
def test_of_spans_that_overlap_the_one_said_last_holds(told) -> None:
    labels = [span(number, *each) for number, each in enumerate(told)]
    resolved = Truths(reversed(labels))
    for moment, place in zip(MOMENTS.tolist(), resolved.of_spans(MOMENTS).tolist()):
        holds = newest([label for label in labels if label.from_utc_ns <= moment < label.to_utc_ns])
        assert (None if place < 0 else resolved.said[place]) == (holds.truth if holds else None)
        assert (place < 0) == (holds is None)


@given(st.lists(spans, max_size=6))
def test_the_labelled_spans_are_the_moments_that_have_a_label(told) -> None:
    resolved = Truths(span(number, *each) for number, each in enumerate(told))
    held = {moment for first, last in resolved.labelled_ns().tolist() for moment in range(first, last)}
    assert held == {moment for moment, place in zip(MOMENTS.tolist(), resolved.of_spans(MOMENTS)) if place >= 0}


@given(st.lists(spans, max_size=4), st.integers(-1, 11), st.integers(0, 5))
def test_a_span_is_of_one_truth_where_all_its_moments_are(told, from_ns, long_ns) -> None:
    resolved = Truths(span(number, *each) for number, each in enumerate(told))
    moments = resolved.of_spans(np.arange(from_ns, from_ns + long_ns + 1)).tolist()
    of_all = {"none" if place == NO_LABEL else resolved.said[place] for place in moments}
    over = int(resolved.over(np.array([from_ns]), np.array([from_ns + long_ns]))[0])
    if over == CUT:
        assert len(of_all) > 1
    else:
        assert of_all == {"none" if over == NO_LABEL else resolved.said[over]}


@given(st.lists(spans, max_size=4), st.lists(frames, max_size=4))
def test_a_word_on_a_frame_comes_before_one_on_its_time_and_that_before_what_was_known(told, of_frames) -> None:
    of_spans = [span(number, *each) for number, each in enumerate(told)]
    labels = of_spans + [frame(10 + number, *each) for number, each in enumerate(of_frames)]
    rows = [(run_id, sequence, sequence * 3) for run_id in (1, 2) for sequence in range(4)]
    run_ids, sequences, utc_ns = (list(column) for column in zip(*rows))
    for row, truth in zip(rows, Truths(labels).now(run_ids, sequences, np.array(utc_ns), ["bird"] * len(rows))):
        named = newest([label for label in labels if (label.run_id, label.sequence) == row[:2]])
        around = newest([label for label in of_spans if label.from_utc_ns <= row[2] < label.to_utc_ns])
        assert truth == (named.truth if named else around.truth if around else "bird")


def test_the_later_row_holds_also_when_the_clock_was_wrong() -> None:
    labels = [span(2, 0, 10, "dog", 5), span(1, 0, 10, "cat", 5), span(3, 0, 10, "bird", 4)]
    assert Truths(labels).now([1], [0], np.array([3]), [None]) == ["bird"]


def test_without_labels_all_is_as_it_was_known() -> None:
    nothing = Truths([])
    assert nothing.now([1, 1], [0, 1], np.array([3, 4]), ["cat", None]) == ["cat", None]
    assert nothing.over(np.array([0]), np.array([10])).tolist() == [NO_LABEL]
    assert nothing.labelled_ns().shape == (0, 2)
