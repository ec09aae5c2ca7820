"""Histograms against the samples themselves, and against the package `hdrhistogram`."""

from hypothesis import given
from hypothesis import strategies as st

from edge.histogram import Histogram

durations_ns = st.lists(st.one_of(st.integers(0, 10**6), st.integers(0, 3600 * 10**9)), max_size=200)


def of(values_ns):
    histogram = Histogram()
    histogram.add(values_ns)
    return histogram


@given(durations_ns)
def test_bytes_bring_back_the_same(values_ns):
    assert Histogram.decode(of(values_ns).encode()) == of(values_ns)
