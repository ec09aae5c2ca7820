#!/bin/sh
# Makes or updates a virtual environment, and installs into it what pip is told to; without VENV it only checks PYTHON.
# usage: venv.sh PYTHON [VENV PIP-ARGUMENT...]      e.g. venv.sh python3 .venv --editable '.[test]'
set -eu
python=$1
shift

fail() { echo "edge-runner: $*" >&2; exit 1; }

command -v "$python" >/dev/null ||
    fail "$python was not found: install Python 3.9 to 3.13, or name it (make PYTHON=…, install.sh --python …)."
"$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 14))' ||
    fail "$("$python" --version) was given: expected Python 3.9 to 3.13 (make PYTHON=…, install.sh --python …)."
"$python" -c 'import struct, sys; sys.exit(struct.calcsize("P") != 8)' ||
    fail "this is a 32-bit system, for which PyPI has no numpy, OpenCV or LiteRT wheels: install the 64-bit Raspberry Pi OS."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python's venv module is missing: sudo apt install python3-venv."
[ $# -gt 0 ] || exit 0
venv=$1
shift

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
# shellcheck disable=SC2086  # nothing or one option
[ -x "$venv/bin/python" ] || "$python" -m venv $system "$venv"
echo "edge-runner: installing into $venv (a minute or two the first time) ..."
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
echo "$constraint" >"$constraints"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --constraint "$constraints" "$@"
