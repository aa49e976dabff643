# What a user types; everything is fetched into DEPS and built in BUILD. A second call does only what is missing.
#
#   make demo           set-up, build, and the main job on real images (about 10 minutes)
#   make demo-targets   the paper's comparison of targets in small (up to 40 minutes)
#   make cifar10        whether pre-training pays, on DATA=folder of cifar10-train.tar (docs/RECIPES.md; an hour)
#   make camvid         the same of segmentation, on DATA=folder of CamVid
#   make test           set-up, build, all tests
#   make bench-accuracy minutes to a stated linear accuracy, beside PyTorch (20 minutes)
#   make soak           runs that are killed over and over, and ranks that are (about 10 minutes)
#   make bench          what takes how long, beside PyTorch: bench/README.md (over an hour; CASES="mim small" takes some)
#   make python         the Python module into the environment of PYTHON=, which has torch
#   make setup build bench-growth asan fuzz format tidy docs install release setup-python clean
#
# Variables: TORCH_DIR=another LibTorch (2.11 to 2.13), TORCH_INDEX=another package index for the engine,
#            GPU=yes|no (default: is there one), PYTHON=, DEPS=, BUILD=, PRESET=release|debug, JOBS=, PREFIX=,
#            CTEST=options of ctest for make test, such as "-L core", SECONDS=of make fuzz for each format,
#            CASES=, PAIRS= and BF16=1 of make bench, AGAINST=plain|best of make bench-accuracy, KILLS= and ROUNDS=
#            of make soak, DATA=, PHOTOS= and PRECISION= of make cifar10 and camvid,
#            PYTHON_TESTS=no leaves out the tests that need PyTorch in Python, as is done by itself where that would be
#            fetched as a CUDA build; yes fetches it; BROWSER_TESTS=no leaves out those that need Chromium
DEPS   ?= .deps
PRESET ?= release
BUILD  ?= build/$(PRESET)
PYTHON ?= python3
PREFIX ?= install
JOBS   ?= $(shell scripts/jobs.sh)
SECONDS ?= 300
export DATA PHOTOS PRECISION DEPS BUILD PYTHON TORCH_DIR TORCH_INDEX GPU PYTHON_TESTS

.PHONY: build setup setup-python setup-browser test soak demo demo-targets cifar10 camvid bench bench-accuracy \
  bench-growth asan fuzz format tidy docs install release python clean
build: configure
	cmake --build $(BUILD) -j $(JOBS) --target beit_program

setup:
	@scripts/setup.sh

.PHONY: configure
configure: setup
	@cmake --preset $(PRESET) -B $(BUILD) -DTORCH_DIR=$(abspath $(or $(TORCH_DIR),$(DEPS)/torch)) --log-level=NOTICE

# The comparison with PyTorch and with libraries on it needs a Python environment; parts of it also the statement of
# the model beside this repository.
setup-python: setup
	@scripts/python.sh

# For the tests of pages.
setup-browser:
	@scripts/packages.sh chromium

# The Python environment first: configure looks for it.
test: $(if $(filter no,$(PYTHON_TESTS)),,setup-python) $(if $(filter no,$(BROWSER_TESTS)),,setup-browser) configure
	cmake --build $(BUILD) -j $(JOBS)
	@scripts/test.sh $(BUILD) $(CTEST)

soak: configure
	cmake --build $(BUILD) -j $(JOBS) --target beit_program beit_tests
	scripts/soak.sh $(BUILD)

demo: build
	demo/run.sh

demo-targets: build
	demo/targets.sh

cifar10: build
	demo/cifar10.sh

camvid: build
	demo/camvid.sh

# Beside PyTorch: bench/README.md.
bench: build setup-python
	python3 bench/compare.py --program $(BUILD)/beit --python $(DEPS)/python/bin/python $(if $(PAIRS),--pairs $(PAIRS)) \
	  $(if $(BF16),--bf16) $(CASES)

bench-growth: build
	python3 bench/growth.py --program $(BUILD)/beit

# The demo beside the same in PyTorch; wants the statement of the model beside this repository.
bench-accuracy: setup-python build
	$(DEPS)/python/bin/python bench/accuracy.py --against $(or $(AGAINST),plain) --program $(BUILD)/beit \
	  --python $(DEPS)/python/bin/python --teacher $(DEPS)/teacher/efficientnet-lite2.pth

# The readers of foreign files, under the address and undefined-behaviour sanitizers.
asan:
	@$(MAKE) configure PRESET=asan BUILD=build/asan
	cmake --build build/asan -j $(JOBS) --target beit_tests
	@scripts/test.sh build/asan

# The same readers with whatever bytes libFuzzer makes up, under the same sanitizers.
fuzz: setup
	@scripts/packages.sh clang-14 libclang-rt-14-dev
	@cmake --preset fuzz -DTORCH_DIR=$(abspath $(or $(TORCH_DIR),$(DEPS)/torch)) --log-level=NOTICE
	cmake --build build/fuzz -j $(JOBS) --target fuzz
	scripts/fuzz.sh build/fuzz $(SECONDS)

format: setup
	scripts/format.sh

tidy: configure
	@scripts/packages.sh clang-tidy
	scripts/tidy.sh $(FILES)

docs: setup
	doxygen docs/Doxyfile

install: configure
	cmake --build $(BUILD) -j $(JOBS) --target beit_program
	cmake --install $(BUILD) --prefix $(PREFIX)

# For machines that have nothing of ours: an archive with the program and the libraries that it needs.
release: configure
	cmake --build $(BUILD) -j $(JOBS) --target beit_program
	cpack --config $(BUILD)/CPackConfig.cmake -B $(abspath $(BUILD))/package

# Into the environment that PYTHON is of; its own torch is what the module is linked with.
python:
	@scripts/setup.sh packages
	@scripts/packages.sh python3-dev
	$(PYTHON) -m pip install --no-deps .

clean:
	rm -rf build
