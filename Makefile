# The Rust library is built by cargo, the C and C++ examples by CMake; this ties the two together.
#   make demo    recolours a photograph with the palette of another, into out/
#   make test    every test, then each example with few steps
#   make header  writes include/sfeuot.h anew from the Rust sources
#   make lint    formatting, clippy and documentation, warnings as errors

CARGO ?= cargo
CMAKE ?= cmake
TARGET = $(or $(CARGO_TARGET_DIR),target)
EXAMPLES = build
OUT ?= out
QUICK = --steps 20 --out $(EXAMPLES)/quick

.PHONY: demo test header lint clean library examples

demo:
	@scripts/install-deps
	@$(MAKE) --no-print-directory examples
	$(EXAMPLES)/color_transfer --out $(OUT)

test:
	@scripts/install-deps --tests
	$(CARGO) test --release
	@$(MAKE) --no-print-directory examples
	$(EXAMPLES)/color_transfer $(QUICK) --lut-size 9
	$(EXAMPLES)/particle_morph $(QUICK) --particles 500 --size 100
	$(EXAMPLES)/outliers --steps 20

library:
	$(CARGO) build --release

examples: library
	$(CMAKE) -S examples-c -B $(EXAMPLES) -DSFEUOT_TARGET_DIR="$(abspath $(TARGET))"
	$(CMAKE) --build $(EXAMPLES) --parallel 2

header:
	SFEUOT_WRITE_HEADER=1 $(CARGO) test --release --test header

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps

clean:
	$(CARGO) clean
	rm -rf $(EXAMPLES) out
