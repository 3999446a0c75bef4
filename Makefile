.PHONY: header

# include/sfeuot.h from src/abi; tests/header.rs fails when it is out of date.
header:
	SFEUOT_WRITE_HEADER=1 cargo test --test header
