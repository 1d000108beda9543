"""`hybrid-drive install` and `uninstall`: the drive as a service that starts with the machine."""

from pathlib import Path
from typing import Annotated

from appliance.commands.options import Json, Mount, State, path_option
from appliance.commands.output import print_json
from appliance.installing import SERVICE, Installation, program, run_command
from appliance.installing import install as put_there
from appliance.installing import uninstall as take_away
from appliance.places import SYSTEM_MOUNT, SYSTEM_STATE

Root = Annotated[
    Path,
    path_option("--root", "DIR", "Only lay the files out below this folder, as if it were /; nothing is started."),
]
_MACHINE = Path("/")


def install(state: State = None, mount: Mount = None, root: Root = _MACHINE, json: Json = False) -> None:
    """Makes the drive a service of this machine: it starts with it, is watched, and is brought back. Needs root."""
    wanted = Installation(
        root=root.absolute(),
        state=(state or SYSTEM_STATE).absolute(),
        mount=(mount or SYSTEM_MOUNT).absolute(),
        program=program(),
    )
    written = put_there(wanted, run_command)
    if json:
        print_json({"files": [str(path) for path in written], "state": str(wanted.state), "mount": str(wanted.mount)})
        return
    for path in written:
        print(path)
    if not wanted.is_real:
        print(f"The files of the service are laid out below {root}.")
        return
    print(f"The drive is mounted at {wanted.mount}, and starts with the machine. Its state is in {wanted.state}.")
    print(f"Health: hybrid-drive status, systemctl status {SERVICE}. hybrid-drive uninstall takes the service away.")


def uninstall(state: State = None, root: Root = _MACHINE, json: Json = False) -> None:
    """Ends the service and takes its files away. The drive, its store and the folder it was mounted at stay."""
    gone = take_away(root.absolute(), run_command)
    if json:
        print_json({"files": [str(path) for path in gone]})
        return
    for path in gone:
        print(f"{path} is gone")
    place = (state or SYSTEM_STATE).absolute()
    print(f"The drive in {place} is untouched." if gone else "Nothing was installed.")
