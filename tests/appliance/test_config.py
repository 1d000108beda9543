"""The configuration is usable or refused with one sentence that names key, value and what is allowed."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import Config, StoreConfig
from appliance.config_reading import find_problems, parse_config, read_config
from appliance.config_text import DEFAULT_TEXT, default_text
from appliance.config_values import Budget, parse_size
from appliance.errors import ConfigInvalid
from cloud_tier.timetable import Limits


def test_no_file_and_the_written_default_mean_the_same(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    assert read_config(file, {}) == Config()
    file.write_text(default_text())
    assert file.read_text() == DEFAULT_TEXT
    assert read_config(file, {}) == Config()


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
        ("[cahce]\n", ("[cahce]", "drive, store, cache, cuts, seal, mount, smb, snapshots, upkeep, log")),
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
        read_config(file, {})
    for word in (str(file), *words):
        assert word in str(caught.value)


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[store]\nup = "2 MiB"\n[log]\nlevel = "debug"\n')
    environment = {
        "HYBRID_DRIVE_STORE_UP": "4 MiB",
        "HYBRID_DRIVE_SNAPSHOTS_SCHEDULED": "false",
        "HYBRID_DRIVE_CACHE_BUDGET": '"50%"',
        "HYBRID_DRIVE_STORE_GRACE_H": "48",
        "HYBRID_DRIVE_STATE": "elsewhere",
        "OTHER": "1",
    }
    config = read_config(file, environment)
    assert (config.store.up, config.store.grace_h, config.log.level) == (4 * 2**20, 48.0, "debug")
    assert config.cache.budget == Budget(share=0.5)
    assert not config.snapshots.scheduled


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HYBRID_DRIVE_STOER_UP", "1", ("HYBRID_DRIVE_STOER_UP is not known", "HYBRID_DRIVE_STATE")),
        ("HYBRID_DRIVE_STORE_UPP", "1", ("HYBRID_DRIVE_STORE_UPP is not known", "grace_h")),
        ("HYBRID_DRIVE_LOG_LEVEL", "loud", ("HYBRID_DRIVE_LOG_LEVEL = 'loud'", "debug, info")),
        ("HYBRID_DRIVE_STORE_SECRET_KEY", "hunter2", ("looks like a secret", "~/.aws/credentials")),
    ],
)
def test_a_variable_is_refused_like_a_key(tmp_path: Path, variable: str, value: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read_config(tmp_path / "config.toml", {variable: value})
    for word in words:
        assert word in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[store]\nsecret_access_key = "hunter2"\n',
        '[store]\npassphrase = "hunter2"\n',
        '[secrets]\nx = "hunter2"\n',
        'api_token = "hunter2"\n',
        "[store.credentials]\nkey = 'hunter2'\n",
    ],
)
def test_a_secret_in_the_file_is_refused_with_what_to_do_and_not_repeated(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid, match="only the drive's user can read") as caught:
        read_config(file, {})
    assert "hunter2" not in str(caught.value)


def test_all_problems_are_found_at_once_each_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('# a drive\n[cuts]\nperiod_s = 0\nmax_rows = 5\n\n[cahce]\nx = 1\n[ log ]\n  level = "loud"\n')
    config, problems = find_problems(file, {"HYBRID_DRIVE_UPKEEP_NIGHT": "24"})
    assert [problem.line for problem in problems] == [3, 6, 9, None]
    assert config.cuts.max_rows == 5
    assert config.cuts.period_s == Config().cuts.period_s
    with pytest.raises(ConfigInvalid, match=r"line 3: \[cuts\] period_s = 0 .* There are 4 problems"):
        read_config(file, {"HYBRID_DRIVE_UPKEEP_NIGHT": "24"})


def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[cuts]\nperiod_s = \n")
    (problem,) = find_problems(file, {})[1]
    assert problem.line == 2
