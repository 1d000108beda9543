"""What the doors find in the state directory while a core runs: accounts, and smbd's files with its NT hashes.

Promises that none of it outlives the core: the core takes it away at its end, and the supervisor that of a killed one.
"""

import shutil

from appliance.places import StatePlaces


def clear_away(places: StatePlaces) -> None:
    """Leave nothing behind. After smbd and the core have ended."""
    for folder in (places.samba, places.extra_users):
        shutil.rmtree(folder, ignore_errors=True)
