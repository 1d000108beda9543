"""kill -9 of the core loses nothing that was acknowledged; and the judge sees each kind of loss."""

import os
from pathlib import Path

import pytest
from crash.kill_ledger import Ledger, content, document, read_facts, stream
from crash.kill_rounds import Crew, run_rounds, supervised_drive
from crash.kill_verdict import judge
from crash.kill_writers import KINDS


@pytest.mark.timeout(240)
def test_killed_core_comes_back_with_every_acknowledged_byte() -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.fail("/dev/fuse is missing: the drive cannot be mounted here, so nothing about it can be proven", False)
    with supervised_drive() as drive:
        assert run_rounds(drive, drive.mount, seeds=(1, 2, 3)) == []


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_file_that_was_closed_must_be_there_whole(tmp_path: Path, ledger: Path) -> None:
    Ledger(ledger).whole(["old", "new"], "key", 5000, "close")

    def losses() -> int:
        return len(judge("names", list(read_facts(ledger)), tmp_path, 0.0).losses)

    assert losses() == 1
    (tmp_path / "new").write_bytes(content("key", 5000))
    assert losses() == 0
    for wrong in (b"", bytes(5000), content("key", 4999), content("other", 5000)):
        (tmp_path / "new").write_bytes(wrong)
        assert losses() == 1


def test_appended_bytes_must_be_there_as_far_as_acknowledged(tmp_path: Path, ledger: Path) -> None:
    Ledger(ledger).prefix("file", "key", 6000, "fsync")

    def losses(raw: bytes) -> int:
        (tmp_path / "file").write_bytes(raw)
        return len(judge("appends", list(read_facts(ledger)), tmp_path, 0.0).losses)

    good = stream("key", 0, 9000)
    assert [losses(raw) for raw in (good, good[:6000], good[:6500] + bytes(500))] == [0, 0, 0]
    assert [losses(raw) for raw in (good[:5999], good[:5999] + b"\0", good[:6000] + b"foreign")] == [1, 1, 1]


def test_unacknowledged_bytes_must_be_there_once_they_are_old(tmp_path: Path, ledger: Path) -> None:
    Ledger(ledger).prefix("held", "key", 100, "age")
    fact = next(read_facts(ledger))
    assert judge("held_open", [fact], tmp_path, fact["at"] + 9.0).losses == []
    assert len(judge("held_open", [fact], tmp_path, fact["at"] + 10.5).losses) == 1


def test_document_must_be_one_whole_version_and_not_too_old(tmp_path: Path, ledger: Path) -> None:
    lines = Ledger(ledger)
    for version in (1, 2, 3):
        lines.write("begin", key="key", version=version)
        lines.write("closed", version=version, how="close")
        lines.write("renamed", version=version)
        if version == 2:
            lines.write("synced", version=2, how="fsync")
    facts = list(read_facts(ledger))

    def losses(raw: bytes, beside: bytes | None = None) -> int:
        (tmp_path / "document").write_bytes(raw)
        (tmp_path / "document.tmp").unlink(missing_ok=True)
        if beside is not None:
            (tmp_path / "document.tmp").write_bytes(beside)
        return len(judge("documents_closed", facts, tmp_path, 0.0).losses)

    one, two, three = (document("key", version, 4000) for version in (1, 2, 3))
    assert losses(three) == 0
    assert losses(two, three) == 0
    assert losses(two) == 1
    assert losses(one, three) == 1
    for broken in (b"", bytes(4020), three[:-1], two[:2000] + three[2000:]):
        assert losses(broken) == 1


def test_slot_must_be_as_acknowledged_or_as_later_wanted(tmp_path: Path, ledger: Path) -> None:
    lines = Ledger(ledger)
    lines.write("try", slot="slot", state=["one", 3000])
    lines.write("done", slot="slot", state=["one", 3000], how="close")

    def losses(raw: bytes | None) -> int:
        (tmp_path / "slot").unlink(missing_ok=True)
        if raw is not None:
            (tmp_path / "slot").write_bytes(raw)
        return len(judge("frees", list(read_facts(ledger)), tmp_path, 0.0).losses)

    one, two = content("one", 3000), content("two", 3000)
    assert (losses(one), losses(None), losses(two)) == (0, 1, 1)
    lines.write("try", slot="slot", state=None)
    assert (losses(one), losses(None), losses(bytes(3000))) == (0, 0, 1)
    lines.write("try", slot="slot", state=["two", 3000])
    assert (losses(two), losses(two[:100]), losses(b"foreign")) == (0, 0, 1)


def test_writers_of_every_kind_keep_an_honest_ledger(tmp_path: Path) -> None:
    """On a plain directory nothing is lost when writers die, and each kind has something to show."""
    (tmp_path / "ledgers").mkdir()
    crew = Crew(tmp_path / "place", tmp_path / "ledgers", seed=5, kinds=tuple(KINDS))
    try:
        crew.start()
        for kind in KINDS:
            while len(list(read_facts(crew.ledger(kind)))) < 20:
                assert crew.ended_early() == []
    finally:
        crew.kill()
    losses, judged = crew.judge(killed_at=float("inf"))
    assert losses == []
    assert set(judged) == {"close", "fsync", "age"}
