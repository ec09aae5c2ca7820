"""What the kernel's files mean, and that nonsense means nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import device
from edge.device import parsing

# What a file may hold: anything, and what nearly is a number.
TEXTS = st.text() | st.from_regex(r"[-+ 0-9a-fx_.:=\n٣]{0,24}", fullmatch=True)
BITS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("throttled=0x50005\n", 0x50005),
        ("throttled=0x0", 0),
        ("80000\n", 0x80000),
        ("x", None),
        ("-1", None),
        ("throttled=", None),
        ('error=1 error_msg="Command not registered"', None),
        ("throttled=0x1ffffffff", None),
    ],
)
def test_throttled_text(text, bits):
    assert parsing.parse_throttled(text) == bits


@given(BITS)
def test_throttled_text_of_either_kind(bits):
    assert parsing.parse_throttled(f"throttled={bits:#x}\n") == parsing.parse_throttled(f"{bits:x}\n") == bits


@given(TEXTS)
def test_any_text_gives_a_value_in_range_or_none(text):
    temperature_c, clock_mhz = parsing.parse_millidegrees(text), parsing.parse_khz(text)
    assert temperature_c is None or -40 <= temperature_c <= 150
    assert clock_mhz is None or 0 < clock_mhz <= 10_000
    bits = parsing.parse_throttled(text)
    assert bits is None or 0 <= bits < 2**32
    load = parsing.parse_loadavg(text)
    assert load is None or (math.isfinite(load) and load >= 0)
    resident_bytes = parsing.parse_resident(text, 16384)
    assert resident_bytes is None or resident_bytes > 0
    assert all(value >= 0 for value in parsing.parse_meminfo(text).values())
    for parse in (parsing.parse_governor, parsing.parse_name, parsing.parse_boot_id, parsing.parse_os_release):
        name = parse(text)
        assert name is None or (name and name.isprintable())
    assert parsing.parse_processors(text) != 0
    assert parsing.parse_cpu_name(text) != ""


@given(st.integers(-40_000, 150_000), st.integers(1, 10_000_000))
def test_thousandths(millidegrees, khz):
    assert parsing.parse_millidegrees(f"{millidegrees}\n") == millidegrees / 1000
    assert parsing.parse_khz(f"{khz}\n") == khz / 1000


@pytest.mark.parametrize("text", ["", "\n", "-89700\n", "150001", "1e3", "1_000", "٣٠٠٠", "0x10", "nan", "9" * 5000])
def test_no_temperature(text):
    assert parsing.parse_millidegrees(text) is None


@pytest.mark.parametrize("text", ["", "0\n", "-600000", "600000000", "<unknown>\n"])
def test_no_clock(text):
    """`<unknown>` is what the kernel shows where a driver cannot tell."""
    assert parsing.parse_khz(text) is None


@given(st.dictionaries(st.sampled_from(["MemTotal", "MemAvailable", "Active(anon)"]), st.integers(0, 2**40)))
def test_meminfo(kib):
    text = "".join(f"{name}: {value:>12} kB\n" for name, value in kib.items()) + "HugePages_Total:       3\n"
    assert parsing.parse_meminfo(text) == {name: value * 1024 for name, value in kib.items()}


def test_rows_of_meminfo_that_make_no_sense_are_left_out():
    assert parsing.parse_meminfo("MemTotal: -5 kB\nMemFree: many kB\nMemAvailable: 7 MB\nBuffers: 1 kB\n") == {
        "Buffers": 1024
    }


@pytest.mark.parametrize(
    ("text", "resident"), [("765 435 406 5 0 123 0\n", 435 * 4096), ("765 0 0", None), ("765", None)]
)
def test_resident(text, resident):
    assert parsing.parse_resident(text, 4096) == resident


@pytest.mark.parametrize(
    ("text", "load"), [("0.87 0.58 0.26 2/160 2715\n", 0.87), ("nan 1 1", None), ("-1 0 0", None), ("inf", None)]
)
def test_load(text, load):
    assert parsing.parse_loadavg(text) == load


def test_names():
    assert parsing.parse_name("Raspberry Pi 5 Model B Rev 1.0\0") == "Raspberry Pi 5 Model B Rev 1.0"
    assert parsing.parse_name("\x1b[2J\n") is None
    assert parsing.parse_name("x" * 201) is None
    assert (
        parsing.parse_os_release("ID=mendel\nPRETTY_NAME='Mendel GNU/Linux 5 (Eagle)'\n")
        == "Mendel GNU/Linux 5 (Eagle)"
    )
    assert parsing.parse_os_release("PRETTY_NAME=\n") is None
    assert parsing.parse_governor("schedutil\n") == "schedutil"
    assert parsing.parse_governor("17\n") is None


def test_throttled_words():
    assert device.throttled_now(0x50005) == ("under-voltage", "throttled")
    assert device.throttled_since_boot(0x50005) == ("under-voltage", "throttled")
    assert device.throttled_since_boot(0x2) == ()


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ([0, 0, 0], ()),
        ([0x50000, 0x50000], ()),  # before the run
        ([0, 0x4, 0x40000], ("throttled",)),
        ([0x40000, 0x50000], ("under-voltage",)),  # came and went between two readings
        ([0, 0x10000, 0], ("under-voltage",)),  # the same, as the kernel's file tells it
        ([0x2], ("frequency capped",)),
    ],
)
def test_throttled_during_a_run(readings, words):
    assert device.throttled_during(readings) == words


@given(st.lists(BITS, min_size=1, max_size=8), st.integers(1, 7))
def test_what_held_back_in_a_part_held_back_in_the_whole(readings, cut):
    whole = set(device.throttled_during(readings))
    parts = [readings[:cut], readings[cut - 1 :]]
    assert whole == {word for part in parts if part for word in device.throttled_during(part)}
