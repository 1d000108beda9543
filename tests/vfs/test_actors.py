"""Actors: one number a user, for ever."""

from kit.still_drive import StillDrive


def test_a_user_has_one_number_over_a_restart(still: StillDrive) -> None:
    numbers = [still.drive.actors.local(uid) for uid in (1000, 0, 1000, 7)]
    assert numbers[0] == numbers[2]
    assert len(set(numbers)) == 3
    still.rest()
    assert [still.drive.actors.local(uid) for uid in (1000, 0, 1000, 7)] == numbers


def test_a_number_says_who_it_was(still: StillDrive) -> None:
    assert still.drive.actors.describe(still.drive.actors.local(7)) == ("local", 7, "")
    assert still.drive.actors.describe(0) == ("unknown", -1, "")


def test_every_change_carries_its_actor(still: StillDrive) -> None:
    one, other = still.as_user(1), still.as_user(2)
    file = still.drive.namespace.create(1, b"a", 0o100644, one)
    assert (file.actor_id, still.inode("").actor_id) == (one.actor_id, one.actor_id)
    still.do(still.drive.files.write, file, 0, b"1", other.actor_id)
    assert (file.actor_id, still.inode("").actor_id) == (other.actor_id, one.actor_id)
