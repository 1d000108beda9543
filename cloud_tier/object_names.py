"""The names of all objects in a store, both ways. Pure; names consist of `[0-9a-z/-]` and sort as their numbers do.

    drive                                      the header: which drive this is
    keys/NNNNNN                                key rings
    lease/NNNNNN                               claims of the one writer
    lease/NNNNNN-CLAIM                         bids for it, in a store that cannot create-only; 32 hexadecimal digits
    packs/FENCE/XX/SALT                        XX: the first two digits of the salt, so that no folder gets too long
    log/FENCE/FIRST-LAST-SALT                  log entries FIRST to LAST
    checkpoints/FENCE/NUMBER-SALT              all metadata, as of log entry NUMBER: the manifest
    parts/FENCE/XX/SALT                        what manifests list

FENCE is the number of the lease under which the object was made: whatever carries an old one is ignored (I10). Numbers
have six digits, those of log entries twelve. SALT is the salt of the object's encoding, 64 hexadecimal digits: what is
encoded anew gets another name, so no name ever stands for two different bodies.
"""

import re
from dataclasses import dataclass

from cloud_tier.pack import PackId

DRIVE = "drive"
KEYS = "keys/"
LEASES = "lease/"
PACKS = "packs/"
LOG = "log/"
CHECKPOINTS = "checkpoints/"
PARTS = "parts/"

_SIX = r"([0-9]{6})"
_TWELVE = r"([0-9]{12})"
_SALT = r"([0-9a-f]{64})"


@dataclass(frozen=True, slots=True)
class KeysName:
    """A key ring."""

    number: int

    def __str__(self) -> str:
        return f"{KEYS}{_digits(self.number, 6)}"


@dataclass(frozen=True, slots=True)
class LeaseName:
    """A claim."""

    fence: int

    def __str__(self) -> str:
        return f"{LEASES}{_digits(self.fence, 6)}"


@dataclass(frozen=True, slots=True)
class LeaseBidName:
    """A bid for the claim of this number."""

    fence: int
    claim_id: bytes

    def __str__(self) -> str:
        return f"{LEASES}{_digits(self.fence, 6)}-{self.claim_id.hex()}"


@dataclass(frozen=True, slots=True)
class PackName:
    """A pack."""

    fence: int
    pack_id: PackId

    def __str__(self) -> str:
        salt = self.pack_id.hex()
        return f"{PACKS}{_digits(self.fence, 6)}/{salt[:2]}/{salt}"


@dataclass(frozen=True, slots=True)
class LogName:
    """Log entries `first` to `last`, in one object."""

    fence: int
    first: int
    last: int
    salt: bytes

    def __str__(self) -> str:
        return f"{LOG}{_digits(self.fence, 6)}/{_digits(self.first, 12)}-{_digits(self.last, 12)}-{self.salt.hex()}"


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """A checkpoint: everything up to and including log entry `position`."""

    fence: int
    position: int
    salt: bytes

    def __str__(self) -> str:
        return f"{CHECKPOINTS}{_digits(self.fence, 6)}/{_digits(self.position, 12)}-{self.salt.hex()}"


@dataclass(frozen=True, slots=True)
class PartName:
    """A part of checkpoints."""

    fence: int
    salt: bytes

    def __str__(self) -> str:
        salt = self.salt.hex()
        return f"{PARTS}{_digits(self.fence, 6)}/{salt[:2]}/{salt}"


ObjectName = KeysName | LeaseName | LeaseBidName | PackName | LogName | CheckpointName | PartName


def parse_name(name: str) -> ObjectName | None:
    """What a name stands for; None for the header and for whatever is not ours."""
    if found := re.fullmatch(KEYS + _SIX, name):
        return KeysName(int(found[1]))
    if found := re.fullmatch(LEASES + _SIX, name):
        return LeaseName(int(found[1]))
    if found := re.fullmatch(f"{LEASES}{_SIX}-([0-9a-f]{{32}})", name):
        return LeaseBidName(int(found[1]), bytes.fromhex(found[2]))
    if (found := re.fullmatch(f"{PACKS}{_SIX}/([0-9a-f]{{2}})/{_SALT}", name)) and found[3].startswith(found[2]):
        return PackName(int(found[1]), PackId(bytes.fromhex(found[3])))
    if found := re.fullmatch(f"{LOG}{_SIX}/{_TWELVE}-{_TWELVE}-{_SALT}", name):
        return LogName(int(found[1]), int(found[2]), int(found[3]), bytes.fromhex(found[4]))
    if found := re.fullmatch(f"{CHECKPOINTS}{_SIX}/{_TWELVE}-{_SALT}", name):
        return CheckpointName(int(found[1]), int(found[2]), bytes.fromhex(found[3]))
    if (found := re.fullmatch(f"{PARTS}{_SIX}/([0-9a-f]{{2}})/{_SALT}", name)) and found[3].startswith(found[2]):
        return PartName(int(found[1]), bytes.fromhex(found[3]))
    return None


def _digits(number: int, width: int) -> str:
    if not 0 <= number < 10**width:  # a longer one would sort before its predecessors
        raise ValueError(f"{number} has no {width} digits")
    return f"{number:0{width}}"
