"""Which Edge TPU a number means, to a user and to libedgetpu."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.runtimes.edgetpu.options import by_place
from edge.runtimes.edgetpu.pool import EdgeTpu
from edge.runtimes.settings import RuntimeSettings
from tests.edgetpu import Standin

DEVICES = st.lists(st.tuples(st.sampled_from(["usb", "pci"]), st.text("0123-", max_size=3)), unique=True, max_size=6)


@given(DEVICES, st.sampled_from(["usb", "pci"]), st.integers(0, 7))
def test_a_number_counts_in_the_order_of_paths(devices: list[tuple[str, str]], kind: str, number: int) -> None:
    given_options = {"device": f"{kind}:{number}", "Performance": "Low"}
    options = by_place(given_options, devices)
    paths = [path for other, path in devices if other == kind]
    if number >= len(paths):
        assert options == given_options  # libedgetpu shall refuse it
    else:
        opened = paths[int(options["device"].removeprefix(f"{kind}:"))]
        assert sorted(paths).index(opened) == number
        assert options["Performance"] == "Low"


@given(DEVICES, st.sampled_from([{}, {"device": ":0"}, {"device": ""}, {"device": "usb"}]))
def test_what_has_no_kind_or_no_number_stays(devices: list[tuple[str, str]], options: dict[str, str]) -> None:
    assert by_place(options, devices) == options


def test_one_that_is_plugged_in_anew_is_found_beside_one_in_use(standin: Standin, compiled_model: Path) -> None:
    """It comes back without firmware, and libedgetpu then counts it first, where the one in use was."""
    standin.set(devices="usb,usb", invoke_ms=10)
    settings = RuntimeSettings(name="edgetpu", library=standin.library, device=("usb:0", "usb:1"), restarts=100)
    runtime = EdgeTpu(compiled_model / "model_edgetpu.tflite", 1, settings)
    tensor = np.zeros(runtime.input_details[0].shape, runtime.input_details[0].dtype)

    def work_until(both: bool) -> None:
        """Have every free one answer, until the newest openings and answers are of both, or one was lost."""
        faults, seen, ends_s = runtime.faults, len(standin.invokes), time.monotonic() + 20
        while len(set(standin.invokes[seen:])) < 2 if both else runtime.faults == faults:
            assert time.monotonic() < ends_s
            while runtime.takes():
                runtime.begin(0, tensor)
            runtime.finished(0.1)

    try:
        work_until(both=True)
        standin.set(devices="usb,-")
        work_until(both=False)
        standin.set(devices="usb,dfu")
        work_until(both=True)
        assert standin.opened[-1].path == "/sys/bus/usb/devices/2-2"
    finally:
        runtime.close()
