"""Compiling for an Edge TPU: the real compiler's log as others published it, and a stand-in for the compiler itself."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.cli import cli
from deploy.compilation import checks, compiler, log
from deploy.compilation.twins import Report
from deploy.conversion import bundles
from deploy.inspection import edgetpu_operators, graph, inspect
from edge import Classifier
from edge.errors import ConfigError, ModelError
from edge.model import tflite_file
from edge.model.bundle import open_bundle, read_contract
from tests.conftest import MODEL, ROOT

LOGS = ROOT / "tests" / "fixtures" / "compiler_logs"
MODELS = ROOT / "tests" / "fixtures" / "models"
STANDIN = ROOT / "tests" / "fakes" / "edgetpu_compiler_standin.py"
LIMITATION = "Operation is otherwise supported, but not mapped due to some unspecified limitation"


def recorded(name: str) -> str:
    return (LOGS / f"{name}.txt").read_text()


def test_a_log_with_operators_on_the_cpu() -> None:
    said = log.parse(recorded("operators_on_the_cpu"))
    assert (said.version, said.compiled, said.compile_ms) == ("16.0.384591198", True, 3173)
    assert (said.tpu_operators, said.cpu_operators, said.subgraphs) == (289, 5, 2)
    assert said.on_chip_bytes == round(6.08 * 2**20)
    assert said.on_chip_left_bytes == 0
    assert said.off_chip_bytes == round(1.70 * 2**20)
    assert len(said.operators) == 17
    assert said.operators[0] == log.Row("RESIZE_NEAREST_NEIGHBOR", 2, log.MAPPED)
    left = [(row.operator, row.count) for row in said.operators if row.status == LIMITATION]
    assert left == [("CONCATENATION", 1), ("TRANSPOSE", 1), ("QUANTIZE", 2), ("RESHAPE", 1)]
    assert said.complaints == ()


def test_a_log_with_all_operators_on_the_edge_tpu() -> None:
    said = log.parse(recorded("all_on_the_edge_tpu"))
    assert (said.version, said.compile_ms) == ("15.0.340273435", 8222)
    assert (said.tpu_operators, said.cpu_operators, said.subgraphs) == (214, 0, 1)
    assert (said.on_chip_left_bytes, said.off_chip_bytes) == (1280, round(15.06 * 2**20))


@pytest.mark.parametrize(
    ("name", "complaints"),
    [
        ("internal_error", ["Internal compiler error. Aborting"]),
        ("not_quantized", ["Invalid model: mobilenet_v2_1.0_224_quant.tflite", "Model not quantized"]),
        ("large_activations", ["Compilation failed due to large activation tensors in model"]),
        ("without_a_reason", []),
    ],
)
def test_a_log_of_a_failure(name: str, complaints: list[str]) -> None:
    said = log.parse(recorded(name))
    assert not said.compiled
    assert list(said.complaints) == complaints
    assert said.tpu_operators is None


def test_reasons_come_without_what_is_always_said() -> None:
    assert (
        log.parse(recorded("newer_operator")).complaints[0].startswith("Didn't find op for builtin opcode 'QUANTIZE'")
    )
    assert log.parse(recorded("dynamic_sizes")).complaints == (
        "Attempting to use a delegate that only supports static-sized tensors with a graph that has dynamic-sized "
        "tensors",
        "Model failed in Tflite interpreter. Please ensure model can be loaded/run in Tflite interpreter",
    )


def test_counts_that_contradict_each_other_are_not_believed() -> None:
    text = recorded("operators_on_the_cpu")
    for wrong in (
        text.replace("Edge TPU: 289", "Edge TPU: 288"),
        text.replace("TRANSPOSE                      2", "X 3"),
    ):
        with pytest.raises(ModelError, match="contradicts itself"):
            log.parse(wrong)


STATUSES = st.sampled_from([log.MAPPED, LIMITATION, "More than one subgraph is not supported"])
ROWS = st.lists(
    st.builds(log.Row, st.from_regex(r"[A-Z][A-Z0-9_]{0,29}", fullmatch=True), st.integers(1, 9999), STATUSES),
    min_size=1,
)
SIZES = st.integers(0, 2**33)


def as_printed(size_bytes: int) -> str:
    """As the compiler prints sizes: two decimals of the largest unit that leaves at least 1."""
    for unit, of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= of:
            return f"{size_bytes / of:.2f}{unit}"
    return f"{size_bytes:.2f}B"


@given(rows=ROWS, used=SIZES, left=SIZES, sent=SIZES, took_ms=st.integers(0, 10**7), subgraphs=st.integers(0, 99))
def test_any_log_of_the_format_is_read(
    rows: list[log.Row], used: int, left: int, sent: int, took_ms: int, subgraphs: int
) -> None:
    mapped = sum(row.count for row in rows if row.status == log.MAPPED)
    on_cpu = sum(row.count for row in rows) - mapped
    counts = (
        f"Number of operations that will run on Edge TPU: {mapped}\n"
        f"Number of operations that will run on CPU: {on_cpu}\n"
    )
    said = log.parse(
        "Edge TPU Compiler version 16.0.1\nStarted a compilation timeout timer of 180 seconds.\n\n"
        f"Model compiled successfully in {took_ms} ms.\n\nInput model: x.tflite\n"
        f"On-chip memory used for caching model parameters: {as_printed(used)}\n"
        f"On-chip memory remaining for caching model parameters: {as_printed(left)}\n"
        f"Off-chip memory used for streaming uncached model parameters: {as_printed(sent)}\n"
        f"Number of Edge TPU subgraphs: {subgraphs}\nTotal number of operations: {mapped + on_cpu}\n\n"
        + (counts if on_cpu else "")
        + "\nOperator                       Count      Status\n\n"
        + "".join(f"{row.operator:30} {row.count:<10} {row.status}\n" for row in rows)
        + "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
    )
    assert said.operators == tuple(rows)
    assert (said.tpu_operators, said.cpu_operators, said.subgraphs, said.compile_ms) == (
        mapped,
        on_cpu,
        subgraphs,
        took_ms,
    )
    for size, read in ((used, said.on_chip_bytes), (left, said.on_chip_left_bytes), (sent, said.off_chip_bytes)):
        assert read is not None
        assert abs(read - size) <= 0.005 * max(1, size) + 0.5


@given(st.lists(st.sampled_from(recorded("operators_on_the_cpu").splitlines()) | st.text()))
def test_no_text_breaks_the_reader(lines: list[str]) -> None:
    try:
        said = log.parse("\n".join(lines))
    except ModelError:
        return
    assert said.compiled == any(
        line.startswith("Model compiled successfully in 3173") for line in "\n".join(lines).splitlines()
    )


class Compiler:
    """The stand-in on PATH as edgetpu_compiler; each try's outcome can be told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = folder / "calls"
        self.calls.mkdir()
        self.path = folder / "bin" / "edgetpu_compiler"
        self.path.parent.mkdir()
        self.path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDIN}" "$@"\n')
        self.path.chmod(0o755)
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", f"{self.path.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("EDGETPU_COMPILER_STANDIN_CALLS", str(self.calls))

    def will(self, *outcomes: str) -> None:
        self._monkeypatch.setenv("EDGETPU_COMPILER_STANDIN", ",".join(outcomes))

    @property
    def tries(self) -> int:
        return len(list(self.calls.glob("try-*")))


@pytest.fixture
def edgetpu_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    return Compiler(tmp_path, monkeypatch)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return Path(shutil.copyfile(ROOT / "models" / MODEL / "model.tflite", tmp_path / "flowers.tflite"))


class Done(NamedTuple):
    """What a command answered."""

    exit_code: object
    stdout: str
    stderr: str


def edge_deploy(*arguments: object) -> Done:
    """A subcommand in this process, which saves a start of Python for each."""
    code: object = 0
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        try:
            cli.main([str(argument) for argument in arguments], standalone_mode=False)
        except SystemExit as end:
            code = end.code
    return Done(code, stdout.getvalue(), stderr.getvalue())


def run(*arguments: object) -> Done:
    return edge_deploy("compile", *arguments)


def refused(*arguments: object) -> str:
    """The one sentence on stderr."""
    result = run(*arguments)
    assert result.exit_code == 1, result.stderr
    assert result.stdout == ""
    *steps, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert all(step.endswith(" …") for step in steps)
    return sentence


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_gets_its_twin(edgetpu_compiler: Compiler, bundle_copy: Path) -> None:
    before, promised = content(bundle_copy), read_contract(bundle_copy)
    result = run(bundle_copy, "--json")
    assert result.exit_code == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=Report)
    after, contract = content(bundle_copy), read_contract(bundle_copy)
    assert set(after) == {*before, "model_edgetpu.tflite"}
    assert {name: after[name] for name in ("model.tflite", "labels.txt")} == {
        name: before[name] for name in ("model.tflite", "labels.txt")
    }
    assert contract.edgetpu is not None
    assert contract.edgetpu.sha256 == report.sha256 == hashlib.sha256(after["model_edgetpu.tflite"]).hexdigest()
    assert (contract.edgetpu.tpu_operators, contract.edgetpu.cpu_operators) == (63, 0)
    assert (contract.edgetpu.compiler, report.compiler) == ("16.0.STAND-IN", "16.0.STAND-IN")
    assert contract.edgetpu.on_chip_bytes == round(1.63 * 2**20)
    assert msgspec.structs.replace(contract, edgetpu=None) == promised
    assert after["model.yaml"].decode() == bundles.contract_text(contract)
    assert open_bundle(bundle_copy).contract == contract
    assert tflite_file.read(bundle_copy / "model_edgetpu.tflite").edgetpu
    assert report.bundle == str(bundle_copy)
    assert (edgetpu_compiler.calls / "options").read_text() == (
        "--show_operations --timeout_sec 300 --out_dir . model.tflite"
    )


def test_the_bundle_still_runs_on_the_cpu_and_is_told_of(edgetpu_compiler: Compiler, bundle_copy: Path) -> None:
    assert run(bundle_copy).exit_code == 0
    with Classifier.open(str(bundle_copy), runtime="litert", threads=1) as opened:
        opened.check_golden()
        assert opened.ran.backend == "cpu"
    environment = {**os.environ, "EDGE_MODELS": str(bundle_copy.parent)}
    listed = subprocess.run(
        [sys.executable, "-m", "edge", "models"], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "model_edgetpu.tflite, 63 of 63 operators" in listed
    assert "nothing stands against it" in edge_deploy("inspect", bundle_copy).stdout
    assert "compiled for it" in edge_deploy("inspect", bundle_copy / "model_edgetpu.tflite").stdout


def test_a_twin_is_replaced_even_a_broken_one(edgetpu_compiler: Compiler, compiled_bundle: Path) -> None:
    (compiled_bundle / "model_edgetpu.tflite").write_bytes(b"lost its content")
    assert run(compiled_bundle).exit_code == 0
    opened = open_bundle(compiled_bundle)
    assert opened.contract is not None
    assert opened.contract.edgetpu is not None
    assert opened.contract.edgetpu.tpu_operators == 63
    assert len(content(compiled_bundle)) == 4


def test_a_bundle_with_a_twin_can_be_replaced_by_another(compiled_bundle: Path) -> None:
    bundles.check_target(compiled_bundle)
    (compiled_bundle / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something other than a model bundle"):
        bundles.check_target(compiled_bundle)


def test_a_bundle_of_its_own_for_both(edgetpu_compiler: Compiler, bundle_copy: Path, tmp_path: Path) -> None:
    before = content(bundle_copy)
    result = run(bundle_copy, "--out", tmp_path / "both")
    assert result.exit_code == 0, result.stderr
    assert content(bundle_copy) == before
    opened = open_bundle(tmp_path / "both")
    assert opened.contract is not None
    assert opened.contract.edgetpu is not None
    assert len(content(tmp_path / "both")) == 4


def test_a_bare_file_gets_its_twin_beside_it(edgetpu_compiler: Compiler, bare: Path, tmp_path: Path) -> None:
    edgetpu_compiler.will("cpu")
    result = run(bare, "--allow-cpu-operators")
    assert result.exit_code == 0, result.stderr
    twin = bare.with_name("flowers_edgetpu.tflite")
    assert tflite_file.read(twin).edgetpu
    assert f"{twin}: 5.26 MB, edgetpu_compiler 16.0.STAND-IN" in result.stdout
    assert "56 of 63 operators, in one part" in result.stdout
    assert f"1 SOFTMAX: {LIMITATION}" in result.stdout
    assert "compiled for an Edge TPU already" in refused(twin)


def test_what_fails_by_chance_is_tried_again(edgetpu_compiler: Compiler, bare: Path) -> None:
    edgetpu_compiler.will("internal", "crash", "half", "silent", "no-file", "ok")
    result = run(bare)
    assert result.exit_code == 0, result.stderr
    assert edgetpu_compiler.tries == 6
    assert ", at try 6" in result.stdout
    assert [step.partition(";")[0] for step in result.stderr.splitlines()[1:]] == [
        "Internal compiler error. Aborting",
        "it was ended by SIGSEGV",
        "it was ended by SIGSEGV",
        "it ended with 1 and wrote no model, without a reason",
        "it ended with 0 and wrote no model, without a reason",
    ]
    assert "trying again, 6 of 10 …" in result.stderr


@pytest.mark.parametrize(
    ("outcome", "tries", "sentence"),
    [
        ("internal", 3, "failed 3 times on {model}: Internal compiler error. Aborting; it fails by chance"),
        ("crash", 3, "failed 3 times on {model}: it was ended by SIGSEGV"),
        ("silent", 3, "failed 3 times on {model}: it ended with 1 and wrote no model, without a reason"),
        ("refused", 1, "refuses {model}: Invalid model: model.tflite; Model not quantized (`edge-deploy convert "),
        ("slow", 1, "Compilation timeout. This is usually caused by large activations (--timeout gives it longer"),
        ("other", 1, "cannot stand for it: its input shape is [1, 16, 16, 3], expected [1, 224, 224, 3]"),
        ("cpu", 1, "leaves 7 of 63 operators of {model} to the CPU: 1 QUANTIZE (" + LIMITATION),
    ],
)
def test_what_fails_leaves_the_bundle_as_it_was(
    edgetpu_compiler: Compiler, bundle_copy: Path, outcome: str, tries: int, sentence: str
) -> None:
    before = content(bundle_copy)
    edgetpu_compiler.will(outcome)
    told = refused(bundle_copy, "--tries", 3)
    assert sentence.format(model=bundle_copy / "model.tflite") in told
    assert "edgetpu_compiler 16.0.STAND-IN " in told
    assert edgetpu_compiler.tries == tries
    assert content(bundle_copy) == before


def test_what_corals_compiler_really_made_is_accepted(data: Path) -> None:
    model = data / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
    checks.require_fit(inspect.inspect(model), "it", allow_cpu_operators=False)
    facts, compiled = (tflite_file.read(path) for path in (model, model.with_name(f"{model.stem}_edgetpu.tflite")))
    said = log.parse(recorded("all_on_the_edge_tpu"))
    checks.require_twin(facts, compiled, said, "it", "the compiler", allow_cpu_operators=False)
    with pytest.raises(ModelError, match="put nothing of it onto the Edge TPU"):
        checks.require_twin(facts, facts, said, "it", "the compiler", allow_cpu_operators=False)


def test_nothing_on_the_edge_tpu_is_refused_even_where_the_cpu_is_allowed(
    edgetpu_compiler: Compiler, bare: Path
) -> None:
    edgetpu_compiler.will("nothing")
    assert "put nothing of" in (told := refused(bare, "--allow-cpu-operators"))
    assert "onto the Edge TPU, and leaves to the CPU: 2 QUANTIZE (" in told
    assert not bare.with_name("flowers_edgetpu.tflite").exists()


def ends(pid: int) -> bool:
    """Whether a process is gone, or only its exit code is left; SIGKILL takes a moment."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_a_compiler_that_hangs_is_stopped_with_its_children(edgetpu_compiler: Compiler, bare: Path) -> None:
    edgetpu_compiler.will("hang")
    told = refused(bare, "--timeout", 1.5)
    assert f"did not finish {bare} in 1.5 s and was stopped: --timeout gives it longer." in told
    assert edgetpu_compiler.tries == 1
    assert ends(int((edgetpu_compiler.calls / "child").read_text()))


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_the_compiler_and_leaves_the_bundle_as_it_was(
    edgetpu_compiler: Compiler, bundle_copy: Path
) -> None:
    before = content(bundle_copy)
    edgetpu_compiler.will("hang")
    command = [sys.executable, "-m", "deploy.cli", "compile", str(bundle_copy)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    child = edgetpu_compiler.calls / "child"
    with process:
        while not (child.exists() and child.read_text()):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.endswith("Interrupted.\n")
    assert ends(int(child.read_text()))
    assert content(bundle_copy) == before


@pytest.mark.parametrize("older", [False, True])
def test_a_full_disk_leaves_the_bundle_as_it_was(
    edgetpu_compiler: Compiler,
    bundle_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    older: bool,
    request: pytest.FixtureRequest,
) -> None:
    if older:
        request.getfixturevalue("compiled_bundle")
        (bundle_copy / "model_edgetpu.tflite").write_bytes(b"older")
    before = content(bundle_copy)
    replace = os.replace

    def full(source: str, target: Path) -> None:
        if Path(source).stat().st_size > 10**6:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert "model_edgetpu.tflite: No space left on device." in refused(bundle_copy)
    assert content(bundle_copy) == before


KILLED = """
import os, shutil, sys
from pathlib import Path
from deploy.conversion import bundles
from deploy.inspection import inspect
from edge.model.bundle import open_bundle, read_contract
bundle = Path(sys.argv[1])
section, compiled = read_contract(bundle).edgetpu, (bundle / "model_edgetpu.tflite").read_bytes()
(bundle / "model_edgetpu.tflite").write_bytes(b"older")
replace = os.replace
for moment in range(1, 4):
    place = bundle.with_name(f"{moment}")
    shutil.copytree(bundle, place)
    child = os.fork()
    if not child:
        left = [moment]
        def until_killed(*arguments):
            replace(*arguments)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), 9)
        os.replace = until_killed
        bundles.add_compiled(place, section, compiled)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9
    print("with" if open_bundle(place).compiled else "without")
"""


def test_a_kill_at_any_moment_leaves_a_bundle_that_opens(compiled_bundle: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(compiled_bundle)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["without", "without", "with"], "")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("softmax_float32", "is not in full integer (input: float32, output: float32, activations: float32"),
        ("any_size", "has the input [1, any, any, 3], and an Edge TPU needs fixed sizes: convert it again"),
        (
            "softmax_int8",
            "1 of 3 operators that would stay on the CPU, by Coral's list: FULLY_CONNECTED has a scale for",
        ),
        ("no_such", "expected a .tflite file, a bundle's folder or a bundle's name"),
    ],
)
def test_what_cannot_work_is_told_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, sentence: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sentence in refused(MODELS / f"{name}.tflite")


def test_a_number_of_pictures_that_is_left_open_is_taken(bare: Path) -> None:
    """As Keras leaves it, in all that is computed; Coral's compiler takes the 1 that the file says."""

    def opened(tensor: graph.Tensor, sizes: tuple[int, ...]) -> graph.Tensor:
        rest = tensor.signature[len(sizes) :]
        return tensor if tensor.data is not None else msgspec.structs.replace(tensor, signature=(*sizes, *rest))

    main = graph.read(bare)
    for sizes, problems in (((-1,), 0), ((-1, -1), len(main.operators))):
        tensors = tuple(opened(tensor, sizes) for tensor in main.tensors)
        found = edgetpu_operators.problems(msgspec.structs.replace(main, tensors=tensors))
        assert [each.reason.partition(":")[0] for each in found] == [
            "has a size that is known only at run time"
        ] * problems
    facts = inspect.inspect(bare)
    port = facts.inputs[0]
    seen = msgspec.structs.replace(facts, inputs=(msgspec.structs.replace(port, signature=(-1, 224, 224, 3)),))
    checks.require_fit(seen, "it", allow_cpu_operators=False)


def test_the_compiler_may_try_what_the_list_refuses(edgetpu_compiler: Compiler, tmp_path: Path) -> None:
    model = shutil.copyfile(MODELS / "softmax_int8.tflite", tmp_path / "tiny.tflite")
    assert "let the compiler try with --allow-cpu-operators." in refused(model)
    assert edgetpu_compiler.tries == 0
    assert run(model, "--allow-cpu-operators").exit_code == 0
    whole = shutil.copyfile(MODELS / "softmax_float32.tflite", tmp_path / "float.tflite")
    assert "--recipe static_wi8_ai8" in refused(whole, "--allow-cpu-operators")


def test_a_bundles_own_file_is_not_bare(edgetpu_compiler: Compiler, bundle_copy: Path) -> None:
    assert f"is the model of a bundle: give the bundle, {bundle_copy}, whose" in refused(bundle_copy / "model.tflite")


def test_without_a_compiler_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bare: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = refused(bare)
    assert "`sudo apt install edgetpu-compiler`" in told or "is made for x86-64 Linux only" in told
    assert f"--compiler {bare} was given: expected a program" in refused(bare, "--compiler", bare)
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho 'other: bad flag'\n")
    other.chmod(0o755)
    assert "is not Coral's edgetpu_compiler, or does not work here: " in refused(bare, "--compiler", other)
    other.write_bytes(b"\x7fELF of another machine")
    assert "--version` said Exec format error." in refused(bare, "--compiler", other)


@pytest.mark.parametrize(
    ("system", "machine", "sentence"),
    [
        (
            "Linux",
            "x86_64",
            "a program for x86-64 Linux that makes a quantized .tflite file one for an Edge TPU, is not on PATH: "
            "`sudo apt install edgetpu-compiler` from Coral's apt repository, which is added as in deploy/README.md, ",
        ),
        (
            "Linux",
            "aarch64",
            "is made for x86-64 Linux only, and this is Linux on aarch64: run `edge-deploy compile` on",
        ),
        ("Darwin", "arm64", "is made for x86-64 Linux only, and this is Darwin on arm64:"),
    ],
)
def test_where_the_compiler_does_not_run(system: str, machine: str, sentence: str) -> None:
    told = compiler.absent(system, machine)
    assert sentence in told
    assert len(told) < 320
