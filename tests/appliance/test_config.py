"""The configuration is usable or refused with one sentence that names key, value and what is allowed."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import (
    DEFAULT_TEXT,
    Budget,
    Config,
    StoreConfig,
    default_text,
    parse_config,
    parse_size,
    read_config,
)
from appliance.errors import ConfigInvalid
from cloud_tier.timetable import Limits


def test_no_file_and_the_written_default_mean_the_same(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert read_config(file) == Config()
    file.write_text(default_text())
    assert file.read_text() == DEFAULT_TEXT
    assert read_config(file) == Config()


@pytest.mark.parametrize("url", ["file:///media/a%20b", "s3://bucket/x?endpoint=http://127.0.0.1:9&region=\u00e9"])
def test_the_default_is_written_with_the_address_of_the_store(url: str) -> None:
    config = parse_config(default_text(url))
    assert config == replace(Config(), store=StoreConfig(url=url))


def test_every_key_is_read() -> None:
    config = parse_config(
        '[drive]\nsize = "1 TiB"\n[cache]\nbudget = "64 GiB"\n'
        '[cuts]\nperiod_s = 2\nmax_rows = 10\nmax_dirty_bytes = 4096\n[log]\nlevel = "debug"\n'
        "[seal]\nquiet_s = 1\nold_s = 30\ncooled_s = 7200\n"
    )
    assert config.drive.size_bytes == 2**40
    assert config.cache.budget == Budget(size_bytes=64 * 2**30)
    assert (config.cuts.period_s, config.cuts.max_rows, config.cuts.max_dirty_bytes) == (2.0, 10, 4096)
    assert config.log.level == "debug"
    assert (config.seal.quiet_s, config.seal.old_s, config.seal.cooled_s) == (1.0, 30.0, 7200.0)


def test_limits_of_the_line_follow_the_hours_of_the_office() -> None:
    config = parse_config(
        '[drive]\ntime_zone = "Europe/Berlin"\n[store]\nup = "2 MiB"\n'
        'rules = [{when = "mon-fri 8-18", up = "1 MiB", down = 65536}]\n'
    )
    table = config.store.timetable(config.drive.zone)
    monday = 1_800_000_000 // 86400 * 86400 + 3 * 86400  # 2027-01-18, 00:00 UTC
    assert table.at((monday + 7 * 3600) * 10**9) == Limits(2**20, 65536)
    assert table.at((monday + 6 * 3600) * 10**9) == Limits(2**21, None)
    assert Config().store.timetable(Config().drive.zone).is_unlimited


def test_a_budget_is_a_share_of_what_is_free_or_a_size() -> None:
    assert parse_config('[cache]\nbudget = "25%"').cache.budget.resolve(400) == 100
    assert parse_config("[cache]\nbudget = 67108864").cache.budget.resolve(400) == 67108864


@pytest.mark.parametrize(
    ("text", "size"),
    [("64 MiB", 64 * 2**20), ("1.5gib", 3 * 2**29), ("7", 7), (0, 0), ("12 B", 12), (" 1 KiB ", 1024)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["10 TB", "", "MiB", "-1", -1, True, 1.5, None, "1 2"])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="64 MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[cahce]\n", ("[cahce]", "drive, store, cache, cuts, seal, mount, smb, log")),
        ("[cuts]\nperiod = 5\n", ("[cuts] period", "period_s, max_rows, max_dirty_bytes")),
        ("[cuts]\nperiod_s = 0\n", ("[cuts] period_s = 0", "0.1 to 60")),
        ("[cuts]\nperiod_s = true\n", ("True", "0.1 to 60")),
        ("[cuts]\nmax_rows = 1.5\n", ("1.5", "whole number")),
        ('[cache]\nbudget = "0%"\n', ("'0%'", "80%")),
        ('[cache]\nbudget = "x%"\n', ("'x%'", "80%")),
        ('[cache]\nbudget = "1 MiB"\n', ("at least", "64 MiB")),
        ("[drive]\nsize = 0\n", ("size = 0", "10 TiB")),
        ('[log]\nlevel = "loud"\n', ("'loud'", "debug, info, warning or error")),
        ("[log]\nlevel = []\n", ("[]", "debug, info, warning or error")),
        ('[drive]\ntime_zone = "Berlin"\n', ("'Berlin'", "Europe/Berlin")),
        ('[store]\nurl = "s3://key:secret@bucket"\n', ("[store] url", "without credentials")),
        ('[store]\nup = "1 KiB"\n', ("'1 KiB'", "16 KiB")),
        ('[store]\nrules = [{up = "1 MiB"}]\n', ("[store] rules", "mon-fri 8-18")),
        ('[store]\nrules = [{when = "someday", up = "1 MiB"}]\n', ("someday", "mon-fri 8-18")),
        ("[seal]\ncooled_s = 1\n", ("cooled_s = 1", "60 to 604800")),
        ("drive = 3\n", ("[drive]",)),
        ("[drive\n", ("TOML",)),
    ],
)
def test_a_refusal_names_key_value_and_what_is_allowed(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        read_config(file)
    for word in (str(file), *words):
        assert word in str(caught.value)
