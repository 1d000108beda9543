# Every recipe runs at the root of the clone, inside .venv. Start them with `./just RECIPE`, which makes .venv first.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

python := ".venv/bin/python"
# On two processors; `-n 0` behind a recipe's name undoes it, for a debugger.
two := "-n 2 --dist loadfile"
# Folders that need a mount or more than a minute; each has a recipe of its own.
slow := "--ignore=tests/mount --ignore=tests/crash --ignore=tests/conformance --ignore=tests/bench --ignore=tests/tour --ignore=tests/faults --ignore=tests/smb --ignore=tests/fuzz"

# The whole folder, unless an argument names a part of it, as in `./just mount-test tests/mount/test_links.py`.
unless_named := '[[ " $* " == *" tests/"* ]] || set --'

# What `./just` alone does: list the recipes.
[private]
default:
    @'{{ just_executable() }}' --list --unsorted

# Run a drive from this clone: state in ./.drive, mounted on ./drive; the first start makes it
[no-exit-message]
serve *args:
    .venv/bin/hybrid-drive serve --state ./.drive --mount ./drive "$@"

# All tests: the fast ones, those on a real mount and over SMB, those that crash it, and the tour of the README
test: test-fast fuzz mount-test smb-test crash-test tour

# Tests that need neither a mount nor a network; `./just test-fast tests/vfs -k rename` runs a part
test-fast *args:
    {{ python }} -m pytest {{ two }} {{ slow }} "$@"

# The control interface under random requests from its own document (half a minute); FUZZ_EXAMPLES=500 for longer
fuzz *args:
    @{{ unless_named }} tests/fuzz "$@"; {{ python }} -m pytest "$@"

# Tests on a real kernel mount; they fail, and never skip, where /dev/fuse or a program is missing
mount-test *args:
    @{{ unless_named }} tests/mount "$@"; {{ python }} -m pytest {{ two }} "$@"

# A real smbd over a real mount, asked by two clients, as root; installs Samba where it is missing or too old
smb-test *args: _samba
    @{{ unless_named }} tests/smb "$@"; {{ python }} -m pytest "$@"

[private]
_samba:
    {{ python }} tests/smb/packages.py

# Style and banned imports
lint:
    .venv/bin/ruff check .

# Mend what the linter can mend by itself
fix:
    .venv/bin/ruff check --fix .

# Strict types in the packages, looser ones in the tests
types:
    {{ python }} -m mypy

# Crash tests: simulated power loss and I/O errors, and a few rounds of kill -9
crash-test *args:
    @{{ unless_named }} tests/crash "$@"; {{ python }} -m pytest {{ two }} "$@"

# Fifty rounds of kill -9 under load on a supervised drive (about ten minutes); `./just crash --rounds 5` for fewer
crash *args:
    {{ python }} tests/crash/kill_rounds.py --rounds 50 "$@"

# A hundred power losses under SQLite, git and others (about ten minutes, as root); --rounds N, --seed N, --careless WHAT
power-loss *args:
    {{ python }} tests/crash/power_rounds.py "$@"

# A drive at work over an S3 store that fails one request in ten, an hour for each of 3 seeds; --seconds N, --seeds N
faults *args:
    {{ python }} tests/faults/fault_rounds.py "$@"

# fsx, fio-verify and stress, one after another (about three quarters of an hour)
torture: fsx fio-verify stress

# 100,000 random operations for each of 8 seeds, under snapshots, checked byte for byte; --ops N, --seeds N, --first SEED
fsx *args:
    {{ python }} tests/conformance/fsx_seeds.py "$@"

# fio's checksummed blocks, verified at once, after a restart of the drive and in a snapshot; --size-mib N
fio-verify *args:
    {{ python }} tests/conformance/fio_verify.py "$@"

# stress-ng's file system stressors, five seconds each (about four minutes); --seconds N, or names of stressors
stress *args:
    {{ python }} tests/conformance/stress.py "$@"

# pjdfstest as root on a fresh drive; wants PJDFSTEST_DIR, a built checkout
conformance *args:
    {{ python }} tests/conformance/pjdfstest.py "$@"

# The drive beside a file system that does nothing and the disk, by turns (about ten minutes); --peer, --quick, --write
bench *args:
    {{ python }} tests/bench/compare.py "$@"

# A million files, ten thousand snapshots, a file of a million extents, large folders (about 15 minutes); --only, --write
scale *args:
    {{ python }} tests/bench/scale.py "$@"

# What polling for requests brings on an idle machine, and that an idle core rests (about a minute); --write
bench-polling *args:
    {{ python }} tests/bench/polling.py "$@"

# How fast a folder of 100,000 files is restored, and what others feel meanwhile
bench-restore *args:
    {{ python }} tests/bench/restore_speed.py "$@"

# Requests and bytes that a store gets to see, and how fast bytes come and go (three minutes); --quick, --peer, --write
bench-cloud *args:
    {{ python }} tests/bench/cloud.py "$@"

# How few bytes a changed file makes, how small a source tree gets, how fast packs are made (two minutes); --only, --write
bench-packs *args:
    {{ python }} tests/bench/packs.py "$@"

# Files that are never left alone: what an hour of small changes sends and leaves behind (minutes); --size-mib N, --only
bench-hot *args:
    {{ python }} tests/bench/hot_files.py "$@"

# A drive of a million files lost and brought back by `recover`: how long, how much (four minutes); --files N, --write
bench-recover *args:
    {{ python }} tests/bench/recover.py "$@"

# What is lost with a machine: how long names and small files take into the store behind a bulk copy (three minutes); --write
bench-rpo *args:
    {{ python }} tests/bench/rpo.py "$@"

# smbd on the drive beside smbd on the disk (two minutes), or --soak: 25 clients at work for 10; --quick, --seconds N, --write
bench-smb *args: _samba
    {{ python }} tests/bench/over_smb.py "$@"

# How well the cache chooses what leaves: an office's month replayed over seven policies (two minutes); --only, --write
bench-eviction *args:
    {{ python }} tests/bench/eviction_trace.py "$@"

# Write the generated documents anew and check that the others say what the program does
docs:
    {{ python }} -m appliance.control.openapi > docs/control-openapi.json
    {{ python }} -m pytest tests/appliance/test_docs.py tests/architecture

# The five-minute tour of the README, as it stands there, on a drive of its own
tour:
    {{ python }} tests/tour/tour.py
