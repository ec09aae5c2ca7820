"""Timing in turns, with functions in place of models, and the steps of real models."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.comparison import latency
from deploy.comparison.latency import WARM_UP_ROUNDS
from tests.conftest import TinyModels


def test_models_take_turns_in_every_round() -> None:
    calls: list[str] = []
    told: list[int] = []
    steps = {name: lambda name=name: calls.append(name) for name in ("one", "two", "three")}
    measured = latency.measure(steps, rounds=4, progress=told.append)
    rounds = 4 + WARM_UP_ROUNDS
    assert calls == ["one", "two", "three"] * rounds
    assert told == [1] * rounds
    assert list(measured) == ["one", "two", "three"]


def test_the_first_rounds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_ns = [0]
    monkeypatch.setattr(latency.time, "perf_counter_ns", lambda: clock_ns[0])
    runs = {"slow": 0, "steady": 0}

    def step(name: str, later_ns: int) -> None:
        runs[name] += 1
        clock_ns[0] += 10**12 if runs[name] <= WARM_UP_ROUNDS else later_ns * runs[name]

    measured = latency.measure(
        {"slow": lambda: step("slow", 2_000_000), "steady": lambda: step("steady", 0)}, rounds=100
    )
    slow, steady = measured["slow"], measured["steady"]
    assert (slow.min, slow.max) == (2.0 * (WARM_UP_ROUNDS + 1), 2.0 * (WARM_UP_ROUNDS + 100))
    assert slow.mean == pytest.approx(2 * (WARM_UP_ROUNDS + 50.5))
    assert (slow.p50, slow.p90) == (2.0 * (WARM_UP_ROUNDS + 50), 2.0 * (WARM_UP_ROUNDS + 90))
    assert (steady.min, steady.max) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["softmax_uint8", "softmax_float32"])
def test_a_step_of_a_tflite_file_gives_its_answer(name: str, tiny: TinyModels) -> None:
    step = latency.tflite_step(tiny[name])
    first, second = np.asarray(step()), np.asarray(step())
    assert first.shape == (1, 3)
    np.testing.assert_array_equal(first, second)
