"""Where Samba comes from: the machine's own source of packages, and nothing that a file of ours names."""

from smb.packages import backports_entry, version_of

OWN = """# comment: with a colon
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
WANTED = """Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
"""


def test_the_backports_come_from_where_the_machine_gets_its_packages() -> None:
    assert backports_entry([OWN], "bookworm") == WANTED + "Signed-By: /usr/share/keyrings/own.gpg\n"
    one_line = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib\n"
    assert backports_entry([one_line], "bookworm") == WANTED + "Signed-By: /k.gpg\n"
    assert backports_entry(["deb http://mirror.example/debian bookworm main\n"], "bookworm") == WANTED


def test_what_is_there_is_not_entered_again() -> None:
    assert backports_entry([OWN, WANTED], "bookworm") is None
    assert backports_entry([OWN, "deb http://other.example/debian bookworm-backports main\n"], "bookworm") is None


def test_no_entry_of_the_release_is_no_source() -> None:
    assert backports_entry(["# deb http://mirror.example/debian bookworm main\n", ""], "bookworm") is None


def test_a_version_is_read_from_what_smbd_says() -> None:
    assert version_of("Version 4.22.6-Debian-4.22.6+dfsg") == (4, 22)
    assert version_of("") == (0, 0)
