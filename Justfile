# Every recipe runs at the root of the clone, inside .venv. Start them with `./just RECIPE`, which makes .venv first.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

python := ".venv/bin/python"
# Folders that need a mount or more than a minute; each has a recipe of its own.
slow := "--ignore=tests/mount --ignore=tests/crash --ignore=tests/conformance --ignore=tests/bench"

# What `./just` alone does: list the recipes.
[private]
default:
    @'{{ just_executable() }}' --list --unsorted

# Run a drive from this clone: state in ./.drive, mounted on ./drive; the first start makes it
serve *args:
    .venv/bin/hybrid-drive serve --state ./.drive --mount ./drive "$@"

# All tests: the fast ones, then those on a real mount
test: test-fast mount-test

# Tests that need neither a mount nor a network; `./just test-fast tests/vfs -k rename` runs a part
test-fast *args:
    {{ python }} -m pytest {{ slow }} "$@"

# Tests on a real kernel mount; they fail, and never skip, where /dev/fuse or a program is missing
mount-test *args:
    {{ python }} -m pytest tests/mount "$@"

# Style and banned imports
lint:
    .venv/bin/ruff check .

# Mend what the linter can mend by itself
fix:
    .venv/bin/ruff check --fix .

# Strict types in the packages, looser ones in the tests
types:
    {{ python }} -m mypy
