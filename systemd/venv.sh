#!/bin/sh
# Makes or updates a virtual environment with edge-runner in it, from this checkout.
# usage: venv.sh PYTHON VENV REQUIREMENT      e.g. venv.sh python3 .venv '.[test]'
set -eu
python=$1 venv=$2 requirement=$3

fail() { echo "edge-runner: $*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "$python was not found: install Python 3.9 to 3.13, or name it (make PYTHON=…)."
"$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 14))' ||
    fail "$("$python" --version) was given: expected Python 3.9 to 3.13 (make PYTHON=python3.11 …)."
"$python" -c 'import struct, sys; sys.exit(struct.calcsize("P") != 8)' ||
    fail "this is a 32-bit system, for which PyPI has no numpy, OpenCV or LiteRT wheels: install the 64-bit Raspberry Pi OS."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python's venv module is missing: sudo apt install python3-venv."

# picamera2 exists only as an apt package. The environment then sees the system's packages, and keeps the system's
# numpy, because picamera2's compiled parts refuse another one.
system='' constraint=''
if "$python" -c 'import picamera2' 2>/dev/null; then
    system=--system-site-packages
    constraint=$("$python" -c 'import numpy; print("numpy==" + numpy.__version__)')
    echo "edge-runner: picamera2 found; the environment sees the system's packages and keeps $constraint."
fi
if [ -n "$system" ] && grep -qs '^include-system-site-packages = false' "$venv/pyvenv.cfg"; then
    echo "edge-runner: $venv was made before picamera2 was installed; making it anew."
    rm -rf "$venv"
fi
[ -x "$venv/bin/python" ] || "$python" -m venv $system "$venv"
echo "edge-runner: installing into $venv (a minute or two the first time) ..."
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
echo "$constraint" >"$constraints"
PIP_CONSTRAINT=$constraints "$venv/bin/python" -m pip install -qq --disable-pip-version-check --editable "$requirement"
