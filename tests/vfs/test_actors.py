"""Actors: one number a user, for ever; and a user at his device, for what a door's process does."""

import os
import threading

from kit.still_drive import StillDrive

from vfs.actors import Actors, Session, process_of


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


def test_a_door_s_process_and_its_threads_work_for_whom_they_serve(still: StillDrive) -> None:
    database, counters = still.drive.database, still.drive.cache.counters
    actors = Actors(database, counters, process_of={71: 70, 90: 90}.get)
    actors.register(70, Session("smb", 60_001, "desk-3"))
    by_smb = actors.describe(actors.behind(60_001, 70))
    assert by_smb == actors.describe(actors.behind(60_001, 71)) == ("smb", 60_001, "desk-3")
    assert actors.describe(actors.behind(0, 70)) == by_smb, "what smbd does as root for a session is the session's"
    assert actors.describe(actors.behind(60_001, 90)) == ("local", 60_001, "")
    assert actors.describe(actors.behind(60_001, 404)) == ("local", 60_001, "")
    actors.forget(70)
    assert actors.describe(actors.behind(60_001, 70)) == ("local", 60_001, "")


def test_a_thread_is_of_its_process() -> None:
    seen: list[int | None] = []
    thread = threading.Thread(target=lambda: seen.append(process_of(threading.get_native_id())))
    thread.start()
    thread.join()
    assert seen == [os.getpid()]
    assert process_of(0) is None
