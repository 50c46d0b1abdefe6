# Everything works in .venv, made by `make install` at the versions of constraints.txt. No root, no other downloads.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find cpp -name '*.cc' -o -name '*.h' -o -name CMakeLists.txt)
PACKAGES := $(shell find src -name __init__.py) # an editable install keeps a map of them
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo test lint format test-slow test-gpu test-arm test-windows test-web bench bench-engine bench-docs sanitize web wheels clean

install: $(VENV)/.installed

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

# torch first, by its exact version: a range may bring a build with gigabytes of CUDA.
$(VENV)/.installed: $(VENV)/.python pyproject.toml constraints.txt CMakeLists.txt $(SOURCES) $(PACKAGES)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet scikit-build-core nanobind cmake ninja
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[train,bench,ncnn,dev]'
	touch $@

# Train, pack, evaluate, classify, and one table at the end: minutes on two cores.
demo: install
	$(BIN)/python examples/demo.py

# In two processes, each with whole files, whose tests share what they made.
test: lint
	$(BIN)/pytest -m 'not slow and not gpu and not arm and not windows and not web' -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(filter %.cc %.h,$(SOURCES))

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(filter %.cc %.h,$(SOURCES))

test-slow: $(VENV)/.release
	$(BIN)/pytest -m slow

test-gpu: install
	$(BIN)/pytest -m gpu

# The NEON kernels, the wheel and the C library for ARM, cross-compiled and run under an emulator, against the same oracle as all others.
test-arm: $(VENV)/.release
	@command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null || \
	  { echo "make test-arm needs the Debian packages g++-aarch64-linux-gnu and qemu-user: apt-get install them"; exit 1; }
	$(BIN)/pytest -m arm

# The wheel and the C library for Windows, compiled here and run under Wine.
test-windows: $(VENV)/.release
	$(BIN)/pytest -m windows

# The engine in WebAssembly, run by Node, and a page in Chromium where there is one.
test-web: install
	@command -v emcmake > /dev/null && command -v node > /dev/null || \
	  { echo "make test-web needs Emscripten and Node 20: apt-get install emscripten nodejs"; exit 1; }
	$(BIN)/pytest -m web

# The engine for browsers, into src/xnornet/web; then the package for npm and two pages of one file each, in build/web.
web: install
	@$(BIN)/python scripts/build_wasm.py
	@$(BIN)/xnornet javascript build/web/xnornet
	@for model in imagenette-realtobinary cifar10-xnor; do $(BIN)/xnornet page $$model -o build/web/$$model.html || exit 1; done

# Time the engine, then train every recipe of the bundled data with three seeds, but for what benchmarks/results holds.
bench: install bench-engine
	$(BIN)/xnornet reproduce fashion --results benchmarks/results --pictures docs
	$(BIN)/python scripts/write_tables.py

# The engine beside every peer, the paper's figures, and the page about them: half an hour on an idle machine.
bench-engine: install
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/stems.py
	$(BIN)/xnornet reproduce fig1 --results benchmarks/results --pictures docs
	$(BIN)/xnornet reproduce fig4 --results benchmarks/results --pictures docs
	$(BIN)/python scripts/write_performance.py

# docs/performance.md with its pictures, and the tables of trained networks, from what benchmarks/results holds.
bench-docs: install
	$(BIN)/python scripts/write_tables.py
	$(BIN)/python scripts/write_performance.py --draw

# The engine's tests and those of the C library under the address and undefined-behaviour sanitizers; the C++ tests, which
# run networks with several threads and callers at once, under these and the thread sanitizer.
SANITIZED := build/sanitize/site
SANITIZER = LD_PRELOAD=$$(gcc -print-file-name=libasan.so):$$(gcc -print-file-name=libstdc++.so) \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
sanitize: install
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --upgrade --target $(SANITIZED) \
	  -C cmake.define.XNORNET_SANITIZE=address,undefined -C build-dir=build/sanitize/work .
	XNORNET_TEST_SITE=$(SANITIZED) $(SANITIZER) $(BIN)/pytest -q tests/test_engine*.py
	$(BIN)/python -c 'import pathlib, tests.golden as g; g.write(pathlib.Path("build/sanitize/golden"))'
	for which in thread address,undefined; do \
	  $(BIN)/cmake -S . -B build/sanitize/$$which -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	    -DXNORNET_BUILD_TESTS=ON -DXNORNET_SANITIZE=$$which -DCMAKE_INSTALL_LIBDIR=lib > /dev/null && \
	  $(BIN)/cmake --build build/sanitize/$$which && \
	  build/sanitize/$$which/cpp/tests/xnornet_tests build/sanitize/golden || exit 1; \
	done
	$(BIN)/cmake --install build/sanitize/address,undefined --prefix build/sanitize/c > /dev/null
	XNORNET_TEST_C=build/sanitize/c $(SANITIZER) $(BIN)/pytest -q tests/test_c.py tests/test_c_*.py

# What a release uploads, in dist/: the sources, and wheels for Linux on x86-64 and ARM, for Windows and for macOS, for
# each Python that is on the PATH of 3.10, 3.11 and 3.12 (the last one's is for all later ones too).
wheels: $(VENV)/.release
	$(BIN)/python scripts/build_wheels.py --out dist

$(VENV)/.release: $(VENV)/.installed
	$(BIN)/pip install --quiet --no-build-isolation --editable '.[release]'
	touch $@

clean:
	rm -rf build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
