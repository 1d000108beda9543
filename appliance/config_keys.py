"""The keys of the configuration: where each value goes, what is allowed, and who reads it; and what is no key.

A key that looks like a secret is none: `config.toml` is copied, mailed and pasted, the environment is read by every
child. Secrets come in files of their own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from appliance import config_values as v

PREFIX = "HYBRID_DRIVE_"
OTHER_VARIABLES = frozenset({"HYBRID_DRIVE_STATE", "HYBRID_DRIVE_PASSPHRASE"})
"""Variables of the environment that are no keys of the configuration."""
_SECRET = re.compile(r"secret|passw|passphrase|token|credential|access_?key|api_?key|private_?key", re.IGNORECASE)
SECRET_SENTENCE = (
    "looks like a secret, and is not read from here, where others can see it. Take it out and put it into a file that"
    " only the drive's user can read: a store's credentials into ~/.aws/credentials, a passphrase into a file for"
    " --passphrase-file."
)


def is_secret(name: str) -> bool:
    """Whether a key of that name would be one."""
    return _SECRET.search(name) is not None


# table → key → (attribute, what is allowed, parser that raises ValueError)
KEYS: Mapping[str, Mapping[str, tuple[str, str, Callable[[object], Any]]]] = {
    "drive": {
        "size": ("size_bytes", v.SIZE_RULE, v.positive_size),
        "time_zone": ("time_zone", '"" for the machine\'s, or a name such as "Europe/Berlin"', v.zone),
    },
    "store": {
        "url": ("url", v.URL_RULE, v.store_url),
        "up": ("up", v.RATE_RULE, v.rate),
        "down": ("down", v.RATE_RULE, v.rate),
        "rules": ("rules", v.RULES_RULE, v.rules),
        "grace_h": ("grace_h", "a number of hours from 1 to 8760", v.seconds(1, 8760)),
        "least_live": ("least_live", 'a share from "10%" to "80%"', v.share),
        "scrub_days": ("scrub_days", "a number of days up to 3650, or 0", v.seconds(0, 3650)),
    },
    "cache": {
        "budget": ("budget", 'a share such as "80%" (up to 100%) or a size of at least "64 MiB"', v.budget),
        "scrub_days": ("scrub_days", "a number of days up to 3650, or 0", v.seconds(0, 3650)),
    },
    "cuts": {
        "period_s": ("period_s", "a number of seconds from 0.1 to 60", v.seconds(0.1, 60)),
        "max_rows": ("max_rows", "a whole number from 1 to 1000000", v.rows),
        "max_dirty_bytes": ("max_dirty_bytes", v.SIZE_RULE, v.positive_size),
    },
    "seal": {
        "quiet_s": ("quiet_s", "a number of seconds from 0.1 to 60", v.seconds(0.1, 60)),
        "old_s": ("old_s", "a number of seconds from 1 to 600", v.seconds(1, 600)),
        "cooled_s": ("cooled_s", "a number of seconds from 60 to 604800", v.seconds(60, 604_800)),
    },
    "mount": {"polling": ("polling", "true or false", v.switch)},
    "smb": {
        "enabled": ("enabled", "true or false", v.switch),
        "port": ("port", "a port from 1 to 65535", v.port),
        "bind": ("bind", '"" for all, or addresses or interfaces separated by spaces', v.addresses),
    },
    "snapshots": {"scheduled": ("scheduled", "true or false", v.switch)},
    "upkeep": {"night": ("night", "a full hour of the office's day, from 0 to 23", v.hour)},
    "log": {"level": ("level", "debug, info, warning or error", v.level)},
}
