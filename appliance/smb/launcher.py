"""Becomes smbd: `python -m appliance.smb.launcher CONFIG NAMES PARENT`, started by `serve` as root.

CONFIG is smb.conf, NAMES the folder of the drive's accounts (passwd, group, shadow), PARENT the supervisor, whose end
is smbd's. Ends with 1 and a sentence on stderr where smbd cannot be started.
"""

import os
import shutil
import sys
from pathlib import Path

from appliance.smb.namespace import SWITCH, NoNamespace, die_with, enter, first_closed, with_extra_users

_LONGEST_BYTES = 107 - len("/private/msg.sock/4194304")
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def main(config: Path, names: Path, parent: int) -> None:
    """Never returns when all goes well. Raises NoNamespace."""
    if len(os.fsencode(config.parent)) > _LONGEST_BYTES:
        raise NoNamespace(f"{config.parent} is too long a path for smbd's sockets: it may have {_LONGEST_BYTES} bytes.")
    closed = first_closed(config)
    if closed is not None:
        raise NoNamespace(
            f"the drive's people cannot pass {closed}, as which smbd works; chmod o+x it, or keep the drive elsewhere."
        )
    smbd = shutil.which("smbd", path=PATH)
    if smbd is None:
        raise NoNamespace("smbd is not installed.")
    switch = config.with_name("nsswitch.conf")
    switch.write_text(with_extra_users(SWITCH.read_text()))
    switch.chmod(0o644)
    enter(names, switch)
    die_with(parent)
    os.execv(smbd, [smbd, "--foreground", "--no-process-group", f"--configfile={config}"])


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except (NoNamespace, OSError) as error:
        sys.exit(f"smbd cannot be started: {error}")
