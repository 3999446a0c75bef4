# The Rust library is built by cargo, the C and C++ examples by CMake; this ties the two together.
#   make demo    recolours a photograph with the palette of another, into out/
#   make demo-images  trains a generator of pictures of clothes (Fashion-MNIST at 16 x 16 pixels, out of Debian's package
#                of it) for MINUTES (default 2), into out/images. PICTURES=shapes needs no download; PICTURES= a folder of
#                PNG files or an IDX file takes yours
#   make test    every test, then a visit to a GPU in rehearsal, and an example the way make demo runs it, with few steps
#   make fuzz    attacks the library for SECONDS (default 600) each with random calls and with damaged files, refuses every
#                allocation once, kills it 300 times while it writes, and starts threads 2000 times where addresses run out.
#                COUNT=1000000 in place of SECONDS; ONLY=calls,files,kills,memory,threads SEED=7; FROM= as a finding tells it
#   make install PREFIX=/usr/local   library, header, pkg-config file and CMake package; after make library, which make test
#                undoes. scripts/install says what else may be set (DESTDIR, LIBDIR, STRIP=1)
#   make header  writes include/sfeuot.h anew from the Rust sources
#   make lint    lock file, formatting, clippy and documentation, warnings as errors
#   make bench   accuracy, speed and memory beside other systems, into bench/RESULTS.md and bench/plots; hours on a quiet
#                machine. PROGRAMS="speed latency" measures those again and leaves the other sections as they are
#   make bench-quick   the same in minutes with fewer steps, into out/; make bench-smoke only shows that all of it runs
#   make kernels   the CPU kernels one by one (cargo bench)

CARGO ?= cargo
CMAKE ?= cmake
TARGET = $(or $(CARGO_TARGET_DIR),target)
EXAMPLES = build
OUT ?= out
PYTHON ?= python3
BENCH = bench/.venv

.PHONY: demo demo-images test fuzz install header lint bench bench-quick bench-smoke kernels clean library examples

demo:
	@scripts/install-deps
	@$(MAKE) --no-print-directory examples
	$(EXAMPLES)/color_transfer --pair --out $(OUT)

demo-images: MINUTES ?= 2
demo-images:
	@scripts/install-deps
	@$(MAKE) --no-print-directory examples
	@mkdir -p $(OUT)/images
	pictures="$(or $(PICTURES),$$(scripts/fetch-pictures $(OUT)/pictures))" && \
	  $(EXAMPLES)/train_images --target "$$pictures" --minutes $(MINUTES) --out $(OUT)/images

# tests/examples.rs runs every example; what is left to see is that they find the library by themselves. With --tests
# cargo takes the build that the tests used: without it, it resolves other features and compiles everything again.
test:
	@scripts/install-deps --tests
	$(CARGO) test --release
	@if command -v python3 >/dev/null || [ -n "$${CI+set}" ]; then scripts/gpu-rehearsal "$(TARGET)/release"; \
	else echo "The rehearsal of a visit to a GPU is left out: there is no python3 (scripts/install-deps --tests gets it)."; fi
	@$(MAKE) --no-print-directory examples WITH=--tests
	$(EXAMPLES)/color_transfer --steps 20 --lut-size 9 --out $(EXAMPLES)/quick

fuzz: export SFEUOT_FUZZ_ONLY := $(ONLY)
fuzz: export SFEUOT_FUZZ_SECONDS := $(or $(SECONDS),$(if $(COUNT),,600))
fuzz: export SFEUOT_FUZZ_COUNT := $(COUNT)
fuzz: export SFEUOT_FUZZ_SEED := $(SEED)
fuzz: export SFEUOT_FUZZ_FROM := $(FROM)
fuzz:
	$(CARGO) test --release --test fuzz

library:
	$(CARGO) build --release --lib $(WITH)

# Does not build: as root there may be no cargo. The folders by either of the names that packagers use.
install: export PREFIX := $(or $(PREFIX),$(prefix))
install: export LIBDIR := $(or $(LIBDIR),$(libdir))
install: export INCLUDEDIR := $(or $(INCLUDEDIR),$(includedir))
install: export BINDIR := $(or $(BINDIR),$(bindir))
install:
	@scripts/install "$(TARGET)/release"

examples: library
	$(CMAKE) -S examples-c -B $(EXAMPLES) -DSFEUOT_TARGET_DIR="$(abspath $(TARGET))"
	$(CMAKE) --build $(EXAMPLES) --parallel 2

header:
	SFEUOT_WRITE_HEADER=1 $(CARGO) test --release --test header

# In the tests' profile, so that macros and build scripts are compiled once for both.
lint:
	$(CARGO) metadata --locked --format-version 1 >/dev/null
	$(CARGO) fmt --check
	$(CARGO) clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps --lib --document-private-items
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps

# Speed first: it refuses a busy machine, and the trainings make it one. Real cells and CIFAR-10 are not in the repository: the cells'
# section is written where CELLS names the folder that has them, cats and cars are in picture_tasks' where CIFAR names its archive.
TIMINGS = speed picture_speed convolution_speed latency scaling memory step_profile
TRUTHS = plans shapes accuracy unbalanced dynamics ablations palettes pictures picture_tasks
PROGRAMS ?= $(TIMINGS) $(TRUTHS) $(if $(CELLS),single_cell)
CELLS ?=
CIFAR ?=
options = $(if $(filter accuracy,$1),table) $(if $(filter single_cell,$1),$(if $(CELLS),--data "$(CELLS)")) \
  $(if $(filter picture_tasks,$1),$(if $(CIFAR),--pictures "$(CIFAR)"))

bench: FOLDER = bench
bench-quick: FOLDER = $(OUT)/bench
bench-quick: SCALE = --quick
bench-smoke: FOLDER = $(OUT)/smoke
bench-smoke: SCALE = --smoke
bench-smoke: PROGRAMS = $(TIMINGS) $(TRUTHS) single_cell
bench bench-quick bench-smoke: export SFEUOT_LIBRARY ?= $(abspath $(TARGET))/release/libsfeuot.so
bench bench-quick bench-smoke: examples $(BENCH)/ready
	@status=0; $(foreach program,$(PROGRAMS),echo "$(program)"; $(BENCH)/bin/python bench/$(program).py $(SCALE) \
	  $(call options,$(program)) --output $(FOLDER)/results/$(program).md --plots $(FOLDER)/plots || status=1;) \
	$(if $(filter --smoke,$(SCALE)),(cd bench && .venv/bin/python -m unittest test_pictures test_picture_tasks test_onnx) || status=1; \
	  (cd examples-python && ../$(BENCH)/bin/python -m unittest test_sfeuot_torch && \
	  ../$(BENCH)/bin/python loss_speed.py 2) || status=1;) \
	$(BENCH)/bin/python bench/assemble.py $(FOLDER) && exit $$status

kernels:
	$(CARGO) bench

$(BENCH)/ready: bench/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --requirement $<
	touch $@

clean:
	$(CARGO) clean
	rm -rf $(EXAMPLES) out $(BENCH) bench/.cache gpu-pack gpu-pack.tar.xz
