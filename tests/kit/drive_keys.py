"""Keys of a drive that exists only in a test: the same for the same number, so that failures repeat."""

import random

from cloud_tier.keys import DriveId, DriveKeys, Generation


def drive_keys(drive: int = 1, generations: int = 1) -> DriveKeys:
    """Keys of the drive with this number, with so many generations."""
    dice = random.Random(drive)
    drive_id, secret = dice.randbytes(16), dice.randbytes(32)
    held = {Generation(number): dice.randbytes(32) for number in range(1, generations + 1)}
    return DriveKeys(DriveId(drive_id), secret, held, Generation(generations))
