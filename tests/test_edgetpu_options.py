"""Which Edge TPU a number means, to a user and to libedgetpu."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.runtimes.edgetpu.options import by_place

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
