# The Rust library is built by cargo, the C and C++ examples by CMake; this ties the two together.
#   make demo    recolours a photograph with the palette of another, into out/
#   make test    every test, then an example the way make demo runs it, with few steps
#   make header  writes include/sfeuot.h anew from the Rust sources
#   make lint    lock file, formatting, clippy and documentation, warnings as errors
#   make bench   accuracy and speed beside PyTorch and JAX, into bench/RESULTS.md; wants a quiet machine

CARGO ?= cargo
CMAKE ?= cmake
TARGET = $(or $(CARGO_TARGET_DIR),target)
EXAMPLES = build
OUT ?= out
PYTHON ?= python3
BENCH = bench/.venv

.PHONY: demo test header lint bench clean library examples

demo:
	@scripts/install-deps
	@$(MAKE) --no-print-directory examples
	$(EXAMPLES)/color_transfer --out $(OUT)

# tests/examples.rs runs every example; what is left to see is that they find the library by themselves. With --tests
# cargo takes the build that the tests used: without it, it resolves other features and compiles everything again.
test:
	@scripts/install-deps --tests
	$(CARGO) test --release
	@$(MAKE) --no-print-directory examples WITH=--tests
	$(EXAMPLES)/color_transfer --steps 20 --lut-size 9 --out $(EXAMPLES)/quick

library:
	$(CARGO) build --release --lib $(WITH)

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
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --no-deps

# Speed first: it refuses a busy machine, and the trainings make it one.
bench: export SFEUOT_LIBRARY ?= $(abspath $(TARGET))/release/libsfeuot.so
bench: library $(BENCH)/ready
	$(BENCH)/bin/python bench/speed.py --output $(BENCH)/speed.md
	$(BENCH)/bin/python bench/accuracy.py table --output $(BENCH)/accuracy.md; status=$$?; \
	{ printf '# Speed\n'; cat $(BENCH)/speed.md; printf '\n# Accuracy\n'; cat $(BENCH)/accuracy.md; } >bench/RESULTS.md; \
	exit $$status

$(BENCH)/ready: bench/requirements.txt
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --requirement $<
	touch $@

clean:
	$(CARGO) clean
	rm -rf $(EXAMPLES) out $(BENCH) gpu-pack
