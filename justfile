# Shortcuts for the scripts, which are the reference. List them: just --list

# Format, lints, and the unit tests of the crates that changed
check:
    ./scripts/check

# Tests that match FILTER and need no service
test FILTER='':
    cargo test --workspace {{FILTER}}

# Everything that continuous integration runs
all:
    ./scripts/test

# The product between stand-ins, with a page to watch
demo:
    cargo run --release -- demo
