"""A stand-in for Coral's edgetpu_compiler 16.0: its options, its log, its ways to fail. It compiles nothing.

What it writes is a model as Coral's compiler would leave it, which only the stand-in in tests/edgetpu can run. Its
version says STAND-IN.

$EDGETPU_COMPILER_STANDIN tells what comes of each try, with commas between; the last one holds for all that follow. The
folder $EDGETPU_COMPILER_STANDIN_CALLS gets an empty file for each try, and `options` with those of the last.

ok          all operators on the Edge TPU
cpu         one operator of each kind stays on the CPU
nothing     all operators stay on the CPU: the model as it was
other       success, with the output of another model
no-file     success, and no file
half        half a file, then a segmentation fault
internal    "Internal compiler error", which passes
crash       a segmentation fault before anything is written
silent      "Compilation failed!" without a reason
refused     "Model not quantized"
slow        its own time-out
hang        nothing happens for an hour, in a child process
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VERSION = "Edge TPU Compiler version 16.0.STAND-IN"
LIMITATION = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
SUCCESS = """\
Started a compilation timeout timer of {timeout_s} seconds.

Model compiled successfully in 1753 ms.

Input model: {model}
Input size: 1.94MiB
Output model: {out}
Output size: 2.55MiB
On-chip memory used for caching model parameters: {on_chip}
On-chip memory remaining for caching model parameters: 1.25KiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: {subgraphs}
Total number of operations: {total}
Operation log: {log}
"""
SOME_ON_CPU = """
Model successfully compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: {on_tpu}
Number of operations that will run on CPU: {on_cpu}
"""
END = "Compilation child process completed within timeout period.\nCompilation succeeded! \n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-v", "--version", action="store_true")
    parser.add_argument("-s", "--show_operations", action="store_true")
    parser.add_argument("-o", "--out_dir", type=Path, default=Path())
    parser.add_argument("-t", "--timeout_sec", type=int, default=180)
    parser.add_argument("model", type=Path, nargs="?")
    options = parser.parse_args()
    print(VERSION, flush=True)
    if options.version:
        return
    outcomes = os.environ.get("EDGETPU_COMPILER_STANDIN", "ok").split(",")
    outcome = outcomes[min(counted(), len(outcomes)) - 1]
    if outcome in FAILURES:
        FAILURES[outcome](options)
    compile_model(options, outcome)


def counted() -> int:
    """Which try this is, from 1."""
    calls = os.environ.get("EDGETPU_COMPILER_STANDIN_CALLS")
    if calls is None:
        return 1
    number = len(list(Path(calls).glob("try-*"))) + 1
    Path(calls, f"try-{number}").touch()
    Path(calls, "options").write_text(" ".join(sys.argv[1:]))
    return number


def compile_model(options: argparse.Namespace, outcome: str) -> None:
    sys.path.insert(0, str(ROOT))
    from deploy.inspection import graph
    from tests.edgetpu import compiled

    source = ROOT / "tests" / "fixtures" / "models" / "logits_int8.tflite" if outcome == "other" else options.model
    content = options.model.read_bytes() if outcome == "nothing" else compiled(source.read_bytes())
    out = options.out_dir / f"{options.model.stem}_edgetpu.tflite"
    if outcome == "half":
        out.write_bytes(content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGSEGV)
    if outcome != "no-file":
        out.write_bytes(content)
    counts = Counter(operator.name for operator in graph.read(options.model).operators)
    left = {"nothing": counts, "cpu": Counter(dict.fromkeys(counts, 1))}.get(outcome, Counter())
    mapped = counts - left
    rows = [(name, count, "Mapped to Edge TPU") for name, count in mapped.items()]
    rows += [(name, count, LIMITATION) for name, count in left.items()]
    print(
        SUCCESS.format(
            timeout_s=options.timeout_sec,
            model=options.model,
            out=out,
            on_chip="0.00B" if outcome == "nothing" else "1.63MiB",
            subgraphs=int(outcome != "nothing"),
            total=sum(count for _, count, _ in rows),
            log=out.with_suffix(".log"),
        ),
        end="",
    )
    if left:
        print(SOME_ON_CPU.format(on_tpu=sum(mapped.values()), on_cpu=sum(left.values())), end="")
    if options.show_operations:
        print(f"\n{'Operator':30} {'Count':10} Status\n")
        for name, count, status in rows:
            print(f"{name:30} {count:<10} {status}")
    print(END, end="")


def say_and_fail(text: str) -> NoReturn:
    print(text)
    sys.exit(1)


def crash(options: argparse.Namespace) -> NoReturn:
    os.kill(os.getpid(), signal.SIGSEGV)
    sys.exit("not reached")


def hang(options: argparse.Namespace) -> NoReturn:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    if "EDGETPU_COMPILER_STANDIN_CALLS" in os.environ:
        Path(os.environ["EDGETPU_COMPILER_STANDIN_CALLS"], "child").write_text(str(child.pid))
    child.wait()
    sys.exit("not reached")


FAILURES = {
    "internal": lambda options: say_and_fail("\nInternal compiler error. Aborting! "),
    "silent": lambda options: say_and_fail(
        "Started a compilation timeout timer of 180 seconds.\n"
        "Compilation child process completed within timeout period.\nCompilation failed! "
    ),
    "refused": lambda options: say_and_fail(f"Invalid model: {options.model}\nModel not quantized"),
    "slow": lambda options: say_and_fail(
        f"Started a compilation timeout timer of {options.timeout_sec} seconds.\n"
        "Compilation timeout. This is usually caused by large activations.\nCompilation failed! "
    ),
    "crash": crash,
    "hang": hang,
}


if __name__ == "__main__":
    main()
