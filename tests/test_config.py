"""What a file, the environment and the command line say, and all that can be wrong with it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from edge import config
from edge.config.document import KEYS, Given, found_in
from edge.config.settings import value_of
from edge.config.sources import LARGEST_BYTES, OPTIONS, VARIABLES
from edge.errors import ConfigError
from edge.resources import shipped


def read(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return config.read(path)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == config.Config()


def test_what_is_given_is_taken_and_the_rest_stays(tmp_path: Path) -> None:
    found = read(
        tmp_path, "camera: {source: scene, fps: 5}\nruntime: {threads: 2}\nmodel: {bare: {mean: [0], std: [255]}}\n"
    )
    assert (found.camera.source, found.camera.fps, found.camera.width_px) == ("scene", 5.0, 640)
    assert found.runtime.threads == 2
    assert found.model.bare.std == (255.0,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("camera: {widht_px: 640}", r":1: unknown key camera\.widht_px: did you mean camera\.width_px\?"),
        ("model: {tip: 1}", r"unknown key model\.tip: did you mean model\.top\?"),
        ("camra: {}", r":1: unknown key camra: did you mean camera\?"),
        ("\nwidth_px: 640", r":2: unknown key width_px: did you mean camera\.width_px\?"),
        ("model: {mean: [1]}", r":1: unknown key model\.mean: did you mean model\.bare\.mean\?"),
        ("model: {bare: {path: x}}", r":1: unknown key model\.bare\.path: did you mean model\.path\?"),
        ("prometheus: {path: /m}", r"unknown key prometheus\.path: expected one of address, enabled, port\."),
        ("mqtt: {threads: 2}", r"unknown key mqtt\.threads: expected one of buffer, "),
        ("camera: {gate: motion}", r"unknown key camera\.gate: did you mean gate\?"),
        ("web: {adress: x}", r"unknown key web\.adress: did you mean web\.address\?"),
        ("zzz: 1", r"unknown key zzz: expected one of camera, fps, gate, "),
        ("runtime: {zzz: 1}", r"unknown key runtime\.zzz: expected one of device, fallback, "),
        ("camera: scene", r"camera is scene: expected keys with values, such as camera\.source\."),
        ("[1, 2]", r"the file holds \[1, 2\]: expected keys with values"),
        ("runtime: {threads: many}", r"runtime\.threads is many: expected a whole number from 1 to 1024, or null\."),
        ("runtime: {threads: 0}", r"runtime\.threads is 0: expected"),
        ("runtime: {threads: '2'}", r"runtime\.threads is '2': expected"),
        ("runtime: {threads: 1.5}", r"runtime\.threads is 1\.5: expected"),
        ("runtime: {threads: 3000000000}", r"runtime\.threads is 3000000000: expected"),
        ("journal: {max_bytes: 5e8}", r"journal\.max_bytes is 5e8: expected a whole number from 1000000 to"),
        ("camera: {loop: 1}", r"camera\.loop is 1: expected true or false\."),
        ("camera: {width_px:}", r"camera\.width_px is empty: expected a whole number from 1 to 65535\."),
        ("fps: -1", r"fps is -1: expected a number from 0\.0001 to 1000000, or null"),
        ("fps: off", r"fps is off: expected a number"),
        ("gate: off", r"gate is off: expected motion, or null"),
        ("fps: .nan", r"fps is \.nan: expected a number"),
        ("fps: .inf", r"fps is \.inf: expected a number"),
        ("fps: 2024-99-99", r"fps is 2024-99-99: expected a number"),
        ("fps: " + "9" * 9999, r"fps is 9{60}…: expected a number"),
        ("camera: {fourcc: MJPEG}", r"camera\.fourcc is MJPEG: expected four letters, such as MJPG or YUYV\."),
        ("runtime: {name: tpu}", r"No runtime 'tpu': expected one of auto, litert, tflite, edgetpu\."),
        (
            "runtime: {device: 'usb:0,usb:1'}",
            r"expected any, usb, usb:N, .* \(several: \[usb:0, usb:1\], or --device twice",
        ),
        ("schedule: [06:00-20:00, 5]", r"schedule\[1\] is 5: expected text\."),
        ("schedule: [06:00-20:00, 6-8]", r"The schedule has '6-8', which is no span of time"),
        ("schedule: 06:00-20:00", r"schedule is 06:00-20:00: expected a list, each item text\."),
        ("privacy: {mask: [[0, 0, 1]]}", r"privacy\.mask\[0\] is \[0, 0, 1\]: expected a list of 4 values\."),
        ("privacy: {mask: [[0, 0, 1, 0]]}", r"privacy\.mask\[0\] is \[0, 0, 1, 0\]: .* with left < right"),
        ("model: {bare: {std: [0]}}", r"model\.bare\.std\[0\] is 0: expected a number from 1e-09 to"),
        ("mqtt: {name: a/+/b}", r"mqtt\.name is 'a/\+/b': expected a part of topics, up to 200 characters, no"),
        ("mqtt: {name: /a}", r"mqtt\.name is '/a': expected .* no \$ at the beginning and no / at either end"),
        ("mqtt: {prefix: $SYS}", r"mqtt\.prefix is '\$SYS': expected a part of topics"),
        ('mqtt: {name: "a\\x01"}', r"mqtt\.name is 'a\\x01': expected a part of topics"),
        ('mqtt: {discovery: "\\uffff"}', r"mqtt\.discovery is '\\uffff': expected a part of topics"),
        (
            "mqtt: {discovery: true}",
            r"discovery is true: expected Home Assistant's prefix, such as homeassistant, or null",
        ),
        ("mqtt: {discovery: Off}", r"mqtt\.discovery is Off: expected Home Assistant's prefix"),
        ("mqtt: {discovery: a/+}", r"mqtt\.discovery is 'a/\+': expected a part of topics"),
        (
            "web: {address: localhost}",
            r"web\.address is 'localhost': expected an address to listen at, 127\.0\.0\.1 \(loc",
        ),
        ("prometheus: {address: ''}", r"prometheus\.address is '': expected an address to listen at"),
        ("mqtt: {name: " + "x" * 201 + "}", r"mqtt\.name is 'x{200}': expected a part of topics"),
    ],
)
def test_mistakes_name_the_path_and_what_was_expected(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("", "mqtt.host is '': expected a broker's name"),
        ("mqtt://broker", "mqtt.host is 'mqtt://broker': expected a broker's name or its IP address"),
        ("mqtt://broker:1883", "expected a broker's name or its IP address"),
        ("broker/", "expected a broker's name"),
        ("my broker", "expected a broker's name"),
        ("[::1]", "such as broker.local, 192.168.1.5 or fd00::5."),
        ("fd00::5::", "expected a broker's name"),
        ("broker:1883", "mqtt.host is 'broker:1883': give the port in mqtt.port"),
        ("192.168.1.5:1883", "give the port in mqtt.port"),
        ("[::1]:1883", "give the port in mqtt.port"),
        ("x" * 254, "expected a broker's name"),
    ],
)
def test_a_broker_is_a_name_or_an_address_and_nothing_more(host: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.effective(None, {}, {"set_": (f"mqtt.host='{host}'",)})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "host", ["ann:hunter2@broker.local", "mqtt://ann:hunter2@broker", "hunter2@", "ann:hunter2@x@broker:1883"]
)
def test_a_password_before_a_brokers_name_is_refused_and_told_nobody(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.effective(None, {"EDGE_MQTT_HOST": host}, {})
    assert "into the file that mqtt.password_file names" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["localhost", "broker.local.", "192.168.1.5", "fd00::5", "fe80::1%eth0", "Büro-Pi", "my_broker"]
)
def test_hosts_that_are_right(host: str) -> None:
    assert config.effective(None, {"EDGE_MQTT_HOST": host}, {}).config.mqtt.host == host


@pytest.mark.parametrize(
    ("prometheus", "web", "meet"),
    [
        *(("127.0.0.1", "127.0.0.1", True), ("0.0.0.0", "127.0.0.1", True), ("127.0.0.1", "::", True)),
        *(("::1", "0:0::1", True), ("127.0.0.1", "127.0.0.2", False), ("127.0.0.1", "::1", False)),
    ],
)
def test_two_servers_at_one_port(prometheus: str, web: str, meet: bool) -> None:
    settings = [f"prometheus={{enabled: true, address: '{prometheus}'}}", "web.token_file=/token"]
    settings += [f"web={{enabled: true, port: 9464, address: '{web}'}}"]
    if meet:
        with pytest.raises(ConfigError, match=r"prometheus\.port and web\.port are both 9464, where only one"):
            config.effective(None, {}, {"set_": settings})
        settings.append("web.enabled=false")
    found = config.effective(None, {}, {"set_": settings}).config
    assert found.web.port == found.prometheus.port


def problems(tmp_path: Path, content: bytes) -> tuple[str, ...]:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    return tuple(sentence.removeprefix(str(path)) for sentence in caught.value.problems)


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = b"""\
camera:
  fps: fast
  isp_resize: true
  source: scene
  zoom: 2
review: {keep_pictures: true, quality: 0}
schedule: [x, 06:00-20:00, y]
gate: maybe
"""
    assert [
        (sentence.split(":")[1], sentence.split(": ")[1].split(" is ")[0]) for sentence in problems(tmp_path, text)
    ] == [
        ("2", "camera.fps"),
        ("5", "unknown key camera.zoom"),
        ("6", "review.quality"),
        ("7", "The schedule has 'x', which"),
        ("7", "The schedule has 'y', which"),
        ("8", "gate"),
        ("6", "review.keep_pictures"),
        ("3", "camera.isp_resize"),
    ]


def test_what_depends_on_a_mistake_is_not_judged(tmp_path: Path) -> None:
    (only,) = problems(tmp_path, b"review: {keep_pictures: true}\njournal: {path: [a]}\n")
    assert only == ":2: journal.path is [a]: expected text, or null."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"camera: {", ":1:10: this is no valid YAML: expected the node content, but found '<stream end>'."),
        (b"fps: 1\n\tgate: motion\n", r":2:1: .*cannot start any token; indent with spaces, not with tabs\."),
        (b"fps: 1\n---\nfps: 2\n", ":2:1: .* but found another document"),
        (b"fps: 1\ngate: null\nfps: 2\n", ":3: fps stands here and in line 1: leave one of them out."),
        (b"camera: {fps: 1, fps: 1}", ":1: camera.fps stands here and in line 1"),
        (b"camera: &c {fps: 1}\nmodel: *c\n", ":1:9: .*anchors, aliases and tags .* are not understood here"),
        (b"fps: !!python/object/apply:os.system [ls]", ":1:6: .*anchors, aliases and tags"),
        (b"fps: 1\ngate: \xff\n", ":2: .*the byte 0xff is no UTF-8"),
        (b"fps: 1\ngate: \x00\n", r":2: .*the character U\+0000 may not stand in it\."),
        ("gate: x".encode("utf-16"), "the byte 0xff is no UTF-8"),
        (b"[" * 300, ":1:21: this is no valid YAML: this stands within too many brackets"),
        (b"# \n" * 4_000_000, f"is no configuration: it holds more than {LARGEST_BYTES} bytes."),
        (b"just words", ":1: the file holds just words: expected keys with values"),
        (b"? [a, b]\n: 1", r":1: unknown key \[a, b\]: expected one of"),
        (b'"a\\eb": 1', ":1: unknown key a\N{REPLACEMENT CHARACTER}b: "),
        (b"<<: {fps: 1}", ":1: unknown key <<: "),
        (b"seed: 1", r"unknown key seed: did you mean camera\.seed\?"),
        (
            b"camera: {seed: 0x" + b"f" * 20_000 + b"}",
            r"camera\.seed is 0xf+…: expected a whole number from 0 to 4294967295",
        ),
        (b"model: {bare: {mean: [0x" + b"f" * 20_000 + b"]}}", r"model\.bare\.mean\[0\] is .*: expected a number from"),
        (b"camera: {source: [rtsp://ann:secret@camera]}", r"source is \[rtsp://ann:\*\*\*@camera\]: expected text"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_text_that_is_no_configuration(tmp_path: Path, content: bytes, sentence: str) -> None:
    (only,) = problems(tmp_path, content)
    assert msgspec.json.encode(only)
    with pytest.raises(ConfigError, match=sentence):
        config.read(tmp_path / "config.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff", "camera:\n  # source: scene\nmodel:\n"])
def test_nothing_is_all_defaults(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == config.Config()


def test_where_text_is_expected_it_is_taken_as_it_stands(tmp_path: Path) -> None:
    found = read(tmp_path, "camera: {source: 0, password_file: 007}\njournal: {path: 2026-11-22}\nmodel: {path: on}")
    assert (found.camera.source, found.camera.password_file) == ("0", "007")
    assert (found.journal.path, found.model.path) == ("2026-11-22", "on")
    assert read(tmp_path, "journal: {path: null}").journal.path is None
    assert read(tmp_path, "journal: {path: 'null'}").journal.path == "null"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, why in (
        (tmp_path / "absent.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0"), "null byte"),
    ):
        with pytest.raises(ConfigError, match=f"^Cannot read the configuration .*: .*{why}"):
            config.read(path)


def test_the_command_line_comes_before_the_environment_before_the_file_before_the_default(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("camera: {width_px: 1, height_px: 1, fps: 1, source: '1'}\nruntime: {threads: 1}\n")
    environment = {"EDGE_CAMERA_HEIGHT_PX": "2", "EDGE_CAMERA_FPS": "2", "EDGE_CAMERA_SOURCE": "2", "HOME": "/"}
    options = {"camera": "3", "loop": None, "journal": None, "set_": ("camera.fps=3", "model.top=3")}
    found, origins = config.effective(path, environment, options)
    camera = found.camera
    assert (camera.fourcc, camera.width_px, camera.height_px, camera.fps, camera.source) == ("MJPG", 1, 2, 3.0, "3")
    assert origins == {
        "camera.width_px": f"{path}:1",
        "camera.height_px": "EDGE_CAMERA_HEIGHT_PX",
        "camera.fps": "--set",
        "camera.source": "--camera",
        "runtime.threads": f"{path}:2",
        "model.top": "--set",
    }
    assert config.effective(path, {}, {"camera": "3", "set_": ("camera.source=4",)}).config.camera.source == "4"


def test_a_mistake_is_told_also_where_it_is_overridden(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("fps: x\n")
    with pytest.raises(ConfigError) as caught:
        config.effective(
            path, {"EDGE_FPS": "[1"}, {"fps": 1e9, "set_": ("fps=y", "camra.fps=1", "fps", "camera={fbs: 1, loop: 2}")}
        )
    begins = [" ".join(sentence.split()[:3]) for sentence in caught.value.problems]
    assert begins == [
        *(f"{path}:1: fps is", "EDGE_FPS: fps is", "--fps: fps is", "--set: fps is"),
        *("--set: unknown key", "--set fps: expected", "--set: unknown key", "--set: camera.loop is"),
    ]


@pytest.mark.parametrize("key", KEYS)
def test_every_key_can_be_set_by_its_variable(key: str) -> None:
    variable = "EDGE_" + key.upper().replace(".", "_")
    value = value_of(config.Config(), key)
    found = config.effective(None, {variable: value if isinstance(value, str) else json.dumps(value)}, {})
    assert found == (config.Config(), {key: variable})


def test_variables_and_options_mean_keys_that_exist() -> None:
    assert set(VARIABLES.values()) == set(KEYS)
    assert set(OPTIONS.values()) <= set(KEYS)


def test_text_from_the_environment_needs_no_quotes() -> None:
    def source(text: str) -> str:
        return config.effective(None, {"EDGE_CAMERA_SOURCE": text}, {}).config.camera.source

    for text in ("rtsp://a:#b@c/?x={y}", "@home: x", "0", "on", "[a.png", " a b"):
        assert source(text) == text
    assert source("'0'") == "0"
    assert source("") == "auto"


def test_the_journal_has_a_short_variable_which_click_passes_on(tmp_path: Path) -> None:
    environment = {"EDGE_JOURNAL": f"{tmp_path}/./a.db"}
    for options in ({}, {"journal": Path(environment["EDGE_JOURNAL"])}):
        found = config.effective(None, environment, options)
        assert found.origins == {"journal.path": "EDGE_JOURNAL"}
    found = config.effective(None, environment, {"journal": tmp_path / "b.db"})
    assert (found.config.journal.path, found.origins["journal.path"]) == (str(tmp_path / "b.db"), "--journal")


def test_lists_and_sections_by_set() -> None:
    texts = ("privacy.mask=[[0, 0, 1, 0.5]]", "camera={fps: 5, loop: true}", "fps=null", "camera.source=a=b")
    found = config.effective(None, {}, {"set_": texts}).config
    assert found.privacy.mask == ((0.0, 0.0, 1.0, 0.5),)
    assert (found.camera.fps, found.camera.loop, found.camera.source, found.fps) == (5.0, True, "a=b", None)


def test_variables_that_are_nearly_ours() -> None:
    environment = {"EDGE_CAMERA_SORCE": "x", "EDGE_CONFG": "x", "EDGE_TEST_DATA": "x", "EDGE_MODELS": "x", "PATH": "x"}
    assert [sentence.partition("did you mean ")[2] for sentence in config.misspelt(environment)] == [
        "EDGE_CAMERA_SOURCE?",
        "EDGE_CONFIG?",
    ]


def test_the_journal_that_a_file_names_whatever_else_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert config.journal_in(path) is None
    for text, expected in (
        ("journal: {path: /a.db}\nfps: x\ncamra: 1", Path("/a.db")),
        ("journal: {path: null}", None),
        ("journal: {path: [x]}", None),
        ("journal: {", None),
    ):
        path.write_text(text)
        assert config.journal_in(path) == expected


def test_the_example_has_every_key_with_its_default_and_says_what_it_does() -> None:
    path = shipped("systemd") / "config.example.yaml"
    text = path.read_text("utf-8")
    found = [each for each in found_in(text, "example") if isinstance(each, Given)]
    assert [each.key for each in found] == list(KEYS)
    assert config.read(path) == config.Config()
    lines = text.splitlines()
    for each in found:
        line = int(each.where.split(":")[1]) - 1
        assert each.key.endswith(lines[line].split(":")[0].strip())
        above = lines[line - 1].lstrip()
        assert above.startswith(("#", "width_px:")), f"{each.key} is not explained"


scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)),
    st.sampled_from(["auto", "motion", "06:00-20:00", "litert", "MJPG", 1, 0.5, 640]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Like a configuration: keys that exist and some that do not, with any values."""
    document: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(sorted(KEYS)) | st.text(max_size=6), max_size=6)):
        *sections, name = key.split(".")
        inner = document
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                break
        else:
            inner[name] = draw(values)
    return document


def told(call: Callable[[], config.Config]) -> tuple[str, ...]:
    """The sentences of a call's error; without one, what it gives is a right configuration."""
    try:
        found = call()
    except ConfigError as error:
        return error.problems
    assert msgspec.convert(msgspec.to_builtins(found), config.Config) == found
    return ()


def assert_a_config_or_sentences(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.yaml")
        path.write_bytes(content)
        for sentence in told(lambda: config.read(path)):
            assert "\n" not in sentence
            assert len(sentence) < 1000
            assert sentence[-1] in ".?"


@given(documents() | values)
def test_any_document_is_a_configuration_or_told_to_be_none(document: Any) -> None:
    assert_a_config_or_sentences(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from("camerfps:{}[]&*!?-|>'\"#%@`,. \n\t0189"), max_size=60).map(str.encode)
)
@example(b"=")
@example(b"fps: =")
@example(b"fps: 0x_")
@example(b"fps: 2001-12-14t21:59:43.10-99:99")
@example(b"fps: 190:20:30\n...\n%YAML 9.9\n---\n")
def test_any_bytes_are_a_configuration_or_told_to_be_none(content: bytes) -> None:
    assert_a_config_or_sentences(content)


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=20))
def test_any_text_in_the_environment_is_a_value_or_told_to_be_none(key: str, text: str) -> None:
    variable = "EDGE_" + key.upper().replace(".", "_")
    for sentence in told(lambda: config.effective(None, {variable: text}, {}).config):
        assert sentence.startswith(f"{variable}: ")
    for sentence in told(lambda: config.effective(None, {}, {"set_": (f"{key}={text}",)}).config):
        assert sentence.startswith("--set: ")
