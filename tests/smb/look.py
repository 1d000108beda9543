"""One look at what an office must find over SMB. A careless drive must not pass it."""

from smb.office import Office


def changed(office: Office, folder: str) -> str:
    """A file, a folder and a stream that have all changed since the snapshot whose token is returned."""
    with office.as_user("alice") as share:
        share.make_folder(f"{folder}\\gone")
        share.write(f"{folder}\\plan.txt", b"first draft")
        share.write(f"{folder}\\plan.txt:notes", b"then")
        share.write(f"{folder}\\gone\\inside.txt", b"kept")
        token = office.snapshot()
        share.write(f"{folder}\\plan.txt", b"ruined")
        share.write(f"{folder}\\plan.txt:notes", b"now")
        for path in (f"{folder}\\gone\\inside.txt", f"{folder}\\gone"):
            share.remove(path)
    return token


def look(office: Office) -> None:
    """Save, change, delete, list the past, open it, and see room for more. Raises AssertionError or SMBException."""
    made = office.smbclient("alice", "mkdir look")
    assert made.returncode == 0, made.stdout
    token = changed(office, "look")
    with office.as_user("bob") as share:
        assert token in share.snapshots("look\\plan.txt")
        assert share.read("look\\plan.txt", at=token) == b"first draft"
        assert share.read("look\\gone\\inside.txt", at=token) == b"kept"
        total, free = share.space()
        assert 0 < free <= total
