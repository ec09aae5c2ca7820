"""`edge config`, and how commands find the installed service's configuration."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge import config
from edge.cli import cli
from edge.commands import complain, configured, require_journal
from edge.config.document import KEYS
from edge.errors import ConfigError
from tests.accelerators import bound_by_permissions
from tests.conftest import MODEL, ROOT


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EDGE_JOURNAL", "EDGE_JOURNAL_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGE_CONFIG", str(tmp_path / "service.yaml"))


def edge(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def written(tmp_path: Path, text: str, name: str = "config.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_check_says_that_all_is_well(tmp_path: Path) -> None:
    result = edge("config", "check", written(tmp_path, "camera: {source: scene}"))
    assert result.exit_code == 0
    assert result.output == f"{tmp_path}/config.yaml: all is well.\n"


def test_check_raises_all_problems_and_each_gets_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_FPS", "off")
    path = written(tmp_path, "gate: off\n")
    result = edge("config", "check", path, "--set", "camera.zoom=2")
    assert isinstance(result.exception, ConfigError)
    complain(result.exception)
    assert capsys.readouterr().err.splitlines() == [
        f"Error: {path}:1: gate is off: expected motion, or null.",
        "Error: EDGE_FPS: fps is off: expected a number from 0.0001 to 1000000, or null.",
        "Error: --set: unknown key camera.zoom: expected one of fourcc, fps, frozen_s, give_up_s, height_px, "
        "isp_resize, loop, password_file, realtime, seed, source, stall_s, width_px.",
    ]
    assert str(result.exception).count("\n") == 0


def test_check_warns_of_what_is_seldom_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CMERA_FPS", "3")
    open_file = written(tmp_path, "secret", "password")
    open_file.chmod(0o644)
    settings = [
        *("camera.give_up_s=1", "motion.threshold=0.5", "motion.at_least_every_s=10", "review.quality=50"),
        *("camera.source=Picamera", f"camera.password_file={open_file}", "model.path=nope"),
    ]
    path = written(tmp_path, "")
    result = edge("config", "check", path, *(part for text in settings for part in ("--set", text)))
    assert result.exit_code == 0
    begins = [
        "The environment's EDGE_CMERA_FPS means nothing here: did you mean EDGE_CAMERA_FPS?",
        "camera.source: No camera 'Picamera'",
        "camera.give_up_s (1) is shorter than camera.stall_s (5)",
        "camera.password_file is for an address with a user and no password",
        f"camera.password_file {open_file} can be read by everybody",
        "model.path: No model 'nope'",
        "motion.threshold has no effect without gate: motion.",
        "review.quality has no effect without review.keep_pictures: true.",
    ]
    *lines, last = result.output.splitlines()
    assert last == f"{path}: can be used; see the 8 warnings."
    assert len(lines) == len(begins)
    for line, begin in zip(lines, begins):
        assert line.startswith(f"Warning: {begin}")


def test_check_warns_of_what_is_right_beside_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_CMERA_FPS", "3")
    text = """\
camera: {source: [], password_file: /absent}
runtime: {name: nope, device: usb}
gate: maybe
motion: {threshold: 0.5}
web: {enabled: 5, port: 81, zoom: 1}
prometheus: {enabled: true, address: 0.0.0.0}
mqtt: {port: 0, state_s: 1}
"""
    result = edge("config", "check", written(tmp_path, text))
    assert isinstance(result.exception, ConfigError)
    assert [sentence.split(": ")[1] for sentence in result.exception.problems] == [
        *("camera.source is []", "No runtime 'nope'", "gate is maybe", "web.enabled is 5", "unknown key web.zoom"),
        "mqtt.port is 0",
    ]
    assert [line.partition(": ")[2] for line in result.output.splitlines()] == [
        "The environment's EDGE_CMERA_FPS means nothing here: did you mean EDGE_CAMERA_FPS?",
        "camera.password_file /absent cannot be read: No such file or directory.",
        "mqtt.state_s has no effect without mqtt.enabled: true.",
        "prometheus.address is 0.0.0.0: whoever reaches this machine can read the metrics, without a password; let a "
        "firewall admit your Prometheus alone, unless you trust everybody in that network.",
    ]


def advice(path: Path, **settings: object) -> list[str]:
    """What `edge config check` warns of, with these settings."""
    given = [part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]
    *lines, _ = edge("config", "check", path, *given).output.splitlines()
    return lines


def test_check_warns_of_settings_for_an_edge_tpu_that_is_not_used(tmp_path: Path, compiled_bundle: Path) -> None:
    path = written(tmp_path, "runtime: {device: 'usb:0', fallback: cpu, retry_s: 60, open_s: 60.0}")
    keys = ("runtime.device", "runtime.fallback", "runtime.retry_s")
    for settings, reason in (
        ({"runtime__name": "litert"}, "runtime.name is litert, which runs on the CPU."),
        ({"runtime__name": "auto"}, "efficientnet_lite0_int8 was not compiled for one, and the CPU runs it."),
    ):
        expected = [f"Warning: {key} is for an Edge TPU, and has no effect: {reason}" for key in keys]
        assert advice(path, **settings) == expected
    for name in ("auto", "edgetpu"):
        assert advice(path, runtime__name=name, model__path=compiled_bundle) == []
    plain = written(tmp_path, "runtime: {name: edgetpu, retry_s: 60}", "plain.yaml")
    assert advice(plain, model__path=compiled_bundle) == [
        "Warning: runtime.retry_s has no effect without runtime.fallback: cpu."
    ]


def test_check_warns_of_a_model_that_cannot_run_on_an_edge_tpu(tmp_path: Path, compiled_model: Path) -> None:
    path = written(tmp_path, "runtime: {name: edgetpu, fallback: cpu}")
    (line,) = advice(path)
    assert line.startswith("Warning: model.path: ")
    assert "was not compiled for an Edge TPU: `edge-deploy compile` does that" in line
    model = compiled_model / "model_edgetpu.tflite"
    assert advice(path, model__path=model) == []
    (compiled_model / "model.tflite").rename(compiled_model / "another.tflite")
    (line,) = advice(path, model__path=model)
    assert f"there is no {compiled_model / 'model.tflite'}" in line
    assert advice(path, model__path=model, runtime__twin=compiled_model / "another.tflite") == []


def test_check_warns_of_what_a_run_refuses(tmp_path: Path, compiled_model: Path) -> None:
    model = compiled_model / "model_edgetpu.tflite"
    path = written(tmp_path, f"model: {{path: {model}, bare: {{labels: {ROOT / 'models' / MODEL / 'labels.txt'}}}}}")
    assert advice(path) == []
    (line,) = advice(path, runtime__name="litert")
    assert line.startswith(f"Warning: model.path: {model} was compiled for a Coral Edge TPU, and litert runs on the")
    for name in ("auto", "edgetpu"):
        assert (
            advice(path, runtime__name=name, runtime__twin=tmp_path / "absent", runtime__library="/nowhere/x.so")
            == [
                f"Warning: runtime.twin: Cannot read the model {tmp_path}/absent: No such file or directory.",
                "Warning: runtime.library: there is no /nowhere/x.so: correct it, or leave it out.",
            ][: 1 if name == "auto" else 2]
        )
        (line,) = advice(path, runtime__name=name, runtime__library="/nowhere/x.so")
        assert line == "Warning: runtime.library: there is no /nowhere/x.so: correct it, or leave it out."


def test_a_command_warns_of_an_edge_tpu_that_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    configured(None, {"device": ("usb:0",)})
    warned = capsys.readouterr().err
    assert warned.startswith("Warning: runtime.device is for an Edge TPU, and has no effect: efficientnet_lite0_int8 ")
    configured(None, {"device": ("usb:0",), "model": "absent"})
    configured(None, {"runtime": "litert", "threads": 1})
    assert capsys.readouterr().err == ""


def test_check_warns_of_passwords(tmp_path: Path) -> None:
    path = written(tmp_path, f"camera: {{source: 'rtsp://ann:secret@c/1', password_file: {tmp_path}/absent}}")
    result = edge("config", "check", path)
    assert "secret" not in result.output
    assert [line.partition(": ")[2].split(":")[0] for line in result.output.splitlines()[:-1]] == [
        "camera.source holds a password",
        "camera.password_file is for an address with a user and no password, such as rtsp",
        f"camera.password_file {tmp_path}/absent cannot be read",
    ]
    kept = written(tmp_path, "secret", "kept")
    kept.chmod(0o600)
    path.write_text(f"camera: {{source: 'rtsp://ann@c/1', password_file: {kept}}}")
    assert edge("config", "check", path).output == f"{path}: all is well.\n"


@pytest.mark.parametrize(
    ("section", "begins"),
    [
        ("mqtt: {enabled: true, host: broker, tls: true}", []),
        ("mqtt: {enabled: true, host: broker, user: ann, tls: true, port: 8883}", []),
        ("mqtt: {enabled: true, tls: true, port: 1883}", ["mqtt.tls is true and mqtt.port is 1883, where brokers"]),
        ("mqtt: {enabled: true, port: 8883}", ["mqtt.port is 8883, where brokers expect TLS, and mqtt.tls is false"]),
        (
            "mqtt: {enabled: true, user: ann, password_file: SAFE, ca_file: SAFE}",
            ["mqtt.ca_file has no effect"],
        ),
        ("mqtt: {enabled: true, host: 127.0.0.2, user: ann, password_file: SAFE}", []),
        (
            "mqtt: {enabled: true, host: broker.local, user: ann, password_file: OPEN}",
            [
                "mqtt.password_file OPEN can be read by everybody",
                "mqtt.password_file holds a password that goes to broker",
            ],
        ),
        (
            "mqtt: {enabled: true, tls: true, cert_file: OPEN, key_file: OPEN, ca_file: ABSENT}",
            ["mqtt.key_file OPEN can be read by everybody", "mqtt.ca_file ABSENT cannot be read: No such file"],
        ),
        (
            "mqtt: {enabled: true, user: ann, password_file: EMPTY}",
            ["mqtt.password_file EMPTY is empty: expected one line."],
        ),
        (
            "mqtt: {enabled: true, user: ann, password_file: ABSENT}",
            ["mqtt.password_file ABSENT cannot be read: No such"],
        ),
        ("mqtt: {enabled: true, user: ann, password_file: LINED}", ["mqtt.password_file LINED holds more than a line"]),
        ("prometheus: {enabled: true}", []),
        ("prometheus: {enabled: true, address: 0.0.0.0}", ["prometheus.address is 0.0.0.0: whoever reaches"]),
        ("web: {enabled: true}", []),
        ("web: {enabled: true, token_file: SAFE}", []),
        ("web: {enabled: true, address: '::', token_file: SAFE}", ["web.address is ::: the token and the pictures go"]),
        (
            "web: {enabled: true, token_file: SHORT}",
            [
                "web.token_file SHORT holds a secret that can be guessed: expected at least 16 characters, such as "
                "`openssl rand -hex 16` prints."
            ],
        ),
        (
            "web: {enabled: true, token_file: ABSENT}",
            [
                "web.token_file ABSENT cannot be read: No such file or directory; `(umask 077; openssl rand -hex 16 "
                ">ABSENT)` makes one."
            ],
        ),
        ("web: {enabled: true, token_file: EMPTY}", ["web.token_file EMPTY is empty: expected one line, such as"]),
        ("web: {enabled: true, token_file: LONG}", ["web.token_file LONG holds more than a line"]),
        ("web: {enabled: true, token_file: LINES}", ["web.token_file LINES holds more than a line"]),
        ("web: {enabled: true, token_file: FOLDER}", ["web.token_file FOLDER is no file."]),
        ("web: {enabled: true, token_file: /run/credentials/nobody.service/token}", []),
        ("web: {enabled: true, port: 9464, address: 127.0.0.2}\nprometheus: {enabled: true}", []),
        ("web: {token_file: ABSENT}", ["web.token_file has no effect without web.enabled: true."]),
    ],
)
def test_check_warns_of_what_is_seldom_meant_of_outlets(tmp_path: Path, section: str, begins: list[str]) -> None:
    secret = "0123456789abcdef"
    kept = {"SAFE": f"{secret}\n", "OPEN": secret, "EMPTY": "\n", "SHORT": "f00", "LONG": secret * 300}
    for name, text in {**kept, "LINES": f"{secret}\n{secret}\n", "LINED": f"{secret}\n\n"}.items():
        written(tmp_path, text, name).chmod(0o644 if name == "OPEN" else 0o600)
    (tmp_path / "FOLDER").mkdir()

    def placed(text: str) -> str:
        return re.sub(r"\b[A-Z]{4,}\b", lambda found: str(tmp_path / found[0]), text)

    lines = advice(written(tmp_path, placed(section)))
    assert len(lines) == len(begins), lines
    for line, begin in zip(lines, begins):
        assert line.startswith(f"Warning: {placed(begin)}")


def test_check_names_the_package_that_an_outlet_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "mqtt: {enabled: true}\nweb: {enabled: true}")
    assert advice(path) == []
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert advice(path) == [
        "Warning: web.enabled is true, and aiohttp is not installed: in the checkout `.venv/bin/pip install -e "
        "'.[web]'`, with the service `sudo systemd/install.sh --extras web`."
    ]


def test_check_tells_of_a_secret_that_is_another_users(tmp_path: Path) -> None:
    token = written(tmp_path, "0123456789abcdef", "token")
    token.chmod(0o200)
    path = written(tmp_path, f"web: {{enabled: true, token_file: {token}}}")
    with bound_by_permissions():
        assert advice(path) == [
            f"Warning: web.token_file {token} cannot be read by this user: Permission denied; who runs the service "
            "must be able to."
        ]


def test_show_tells_values_and_where_they_come_from_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_CAMERA_SOURCE", "rtsp://ann:secret@c/1")
    path = written(tmp_path, "fps: 2\nschedule: ['06:00-20:00']\n")
    table = edge("config", "show", path, "--set", "model.top=3")
    found = json.loads(edge("config", "show", path, "--set", "model.top=3", "--json").stdout)
    assert list(found) == list(KEYS)
    assert found["camera.source"] == {"value": "rtsp://ann:***@c/1", "from": "EDGE_CAMERA_SOURCE"}
    assert found["schedule"] == {"value": ["06:00-20:00"], "from": f"{path}:2"}
    assert found["camera.loop"] == {"value": False, "from": "default"}
    rows = {line.split()[0]: line.split()[1:] for line in table.stdout.splitlines()}
    assert (rows["fps"], rows["model.top"]) == (["2.0", f"{path}:1"], ["3", "--set"])
    assert rows["privacy.mask"] == ["[]", "default"]
    columns = {line.index(row[1]) for line, row in zip(table.stdout.splitlines(), rows.values())}
    assert len(columns) == 1
    assert "secret" not in table.output


def test_without_a_file_it_is_the_services(tmp_path: Path) -> None:
    result = edge("config", "show")
    assert isinstance(result.exception, ConfigError)
    written(tmp_path, "fps: 3", "service.yaml")
    assert json.loads(edge("config", "show", "--json").stdout)["fps"]["value"] == 3
    assert edge("config", "check").stdout == f"{tmp_path}/service.yaml: all is well.\n"


def test_where_nothing_is_installed_the_defaults_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_CONFIG")
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "absent.yaml")
    assert "default" in edge("config", "show").stdout


def test_the_journal_of_the_service_is_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No journal is named: give --journal FILE.*service\.yaml names none"):
        require_journal(None)
    written(tmp_path, "journal: {path: /var/lib/x.db}\nwrong: 1", "service.yaml")
    assert require_journal(None) == Path("/var/lib/x.db")
    assert require_journal(Path("mine.db")) == Path("mine.db")


def test_the_configuration_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_MODEL_TOPS", "2")
    monkeypatch.setenv("EDGE_MODEL_TOP", "2")
    path = written(tmp_path, "fps: 1\ngate: motion")
    options = {"camera": "scene", "threads": None, "set_": ("gate=null",)}
    first = configured(path, options)
    path.write_text("fps: 2\n")
    second = configured(path, options)
    path.write_text("fps: x\ncamra: 1\n")
    with pytest.raises(ConfigError) as caught:
        configured(path, options)
    assert len(caught.value.problems) == 2
    assert (first.fps, second.fps, second.gate, second.camera.source, second.model.top) == (1.0, 2.0, None, "scene", 2)
    assert "did you mean EDGE_MODEL_TOP?" in capsys.readouterr().err
