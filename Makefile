# Each target makes the virtual environment that it needs. PYTHON chooses the interpreter, ARGS goes to `edge run`, and
# EXTRAS is what else to install: `make run EXTRAS=web ARGS="--set web.enabled=true"`; for the tests, which otherwise
# have nearly all, instead of those: `make test VENV=.venv-tflite EXTRAS=test,tflite` tests with both runtimes.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# TensorFlow, for the tests of the converter, where it installs and a laptop or server is likely.
CONVERT := $(shell $(PYTHON) -c 'import platform, sys; print(",convert" * (sys.version_info >= (3, 11) and platform.machine() == "x86_64"))' 2>/dev/null)
EXTRAS ?=
COMMA := ,
GIVEN := $(strip $(subst $(COMMA), ,$(EXTRAS)))
KNOWN = $(shell sed -n '/^\[options\.extras_require\]/,/^\[options\.package_data\]/s/^\([a-z]*\) =$$/\1/p' setup.cfg)
# pip would leave out what it does not know, and say so to nobody.
$(if $(GIVEN),$(foreach name,$(filter-out $(KNOWN),$(GIVEN)),$(error EXTRAS has $(name): expected some of $(KNOWN))))
override EXTRAS := $(subst $() ,$(COMMA),$(GIVEN))
TESTED := test,lint,report,parquet,mqtt,prometheus,web$(CONVERT)
BIN := $(VENV)/bin
# The folder with the larger picture sets, for the tests and benchmarks that need them.
export EDGE_TEST_DATA ?= $(abspath ../shared/data)

# picamera2 comes from apt; when it is installed later, the environment is made anew so that it can see it.
SEES := $(shell $(PYTHON) -c 'import importlib.util as u; print("system" if u.find_spec("picamera2") else "own")' 2>/dev/null)

.PHONY: help run test test-hardware test-system test-camera test-arm64 test-endurance lint bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.installed-$(SEES) $(if $(EXTRAS),$(VENV)/.with-$(EXTRAS)) ## Install, then classify the camera, or a drawn scene where there is none (ARGS="--seconds 10")
	$(BIN)/edge run $(ARGS)

# Two files at a time, as most tests keep one processor busy; in their order, for the quick ones come last. numpy's own
# threads would only wait for each other then.
test: $(VENV)/.test ## Install, then run the whole test suite
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-hardware: $(VENV)/.test ## Test what is plugged in: a Raspberry Pi's board, a camera, an Edge TPU
	$(BIN)/python -m pytest -s -m hardware

test-system: $(VENV)/.test ## As root: install, break and mend the service in a real systemd (a container)
	$(BIN)/python -m pytest -s -m system

test-camera: $(VENV)/.test ## As root, half an hour the first time: unplug, freeze and starve virtual cameras
	$(BIN)/python -m pytest -s -m camera

test-arm64: $(VENV)/.test ## As root: the aarch64 wheels of Bookworm and Trixie under qemu
	$(BIN)/python -m pytest -s -m arm64

test-endurance: $(VENV)/.test ## 200,000 frames with faults at random
	$(BIN)/python -m pytest -s -m endurance

lint: $(VENV)/.test ## Check style, types and shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v shellcheck >/dev/null; then shellcheck systemd/*.sh; \
	else echo "shellcheck was not found, so that systemd/*.sh is not checked: sudo apt install shellcheck."; fi

bench: $(VENV)-bench/.bench $(VENV)/.test ## Measure against named baselines, print ratios
	$(VENV)-bench/bin/python -m tests.benchmarks
	$(VENV)-bench/bin/python -m tests.benchmarks.journal
	$(BIN)/python -m tests.benchmarks.month
	$(BIN)/python -m tests.benchmarks.idle
	$(BIN)/python -m tests.benchmarks.edgetpu
	$(BIN)/python -m tests.benchmarks.outlets
	$(BIN)/python -m tests.benchmarks.training

clean: ## Remove the virtual environments
	rm -rf $(VENV) $(VENV)-bench

# systemd/venv.sh knows about Raspberry Pi OS: picamera2 comes from apt, and numpy has to fit it.
$(VENV)/.installed-$(SEES): setup.cfg pyproject.toml systemd/venv.sh
	sh systemd/venv.sh $(PYTHON) $(VENV) --editable .
	@touch $@

$(VENV)/.with-$(EXTRAS): $(VENV)/.installed-$(SEES)
	sh systemd/venv.sh $(PYTHON) $(VENV) --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.test: $(VENV)/.installed-$(SEES)
	sh systemd/venv.sh $(PYTHON) $(VENV) --editable '.[$(or $(EXTRAS),$(TESTED))]'
	@touch $@

$(VENV)-bench/.bench: setup.cfg pyproject.toml systemd/venv.sh
	sh systemd/venv.sh $(PYTHON) $(VENV)-bench --editable '.[bench]'
	@# mediapipe brings an OpenCV with windows into the same folder; measure with the one that a device has
	$(VENV)-bench/bin/pip uninstall -qq --yes opencv-contrib-python
	$(VENV)-bench/bin/pip install -qq --force-reinstall --no-deps opencv-python-headless
	@touch $@
