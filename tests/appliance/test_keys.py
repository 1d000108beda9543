"""Making a drive and changing who can open it, on the command line: what is said, what is kept, what is refused."""

import json
import shutil
import tarfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from kit.drive_builder import DriveBuilder
from kit.fake_service import FakeService, serving

from appliance import cli, keys, making
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem
from appliance.durable import write_durably
from appliance.errors import CloudRefused, Locked
from appliance.exit_codes import ExitCode
from appliance.keys import Brought, Keys
from appliance.places import LAYOUT, StatePlaces, is_made
from appliance.unlocking import unlock
from cloud_tier import keyring
from cloud_tier.clock import Clock
from cloud_tier.dir_store import open_dir_store
from cloud_tier.errors import CloudError, RingRolledBack, StoreDenied, WrapRevoked
from cloud_tier.keyring import KeyRing
from cloud_tier.kit import Kit, parse_kit
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Page
from cloud_tier.retrying import RetryPolicy
from cloud_tier.ring_store import put_header, put_ring
from cloud_tier.store_url import StoreUrl
from cloud_tier.wraps import Argon2Cost, WrapKind
from vfs.check import check

GOLDEN = Path(__file__).parents[1] / "golden"
PASSPHRASE = "a horse, a battery, a staple"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "Argon2Cost", lambda: Argon2Cost(64, 1, 1))
    monkeypatch.delenv("HYBRID_DRIVE_PASSPHRASE", raising=False)


@pytest.fixture
def places(tmp_path: Path) -> StatePlaces:
    return StatePlaces(tmp_path / "state")


@pytest.fixture
def run(places: StatePlaces, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line on the test's state; gives exit code, stdout, stderr."""

    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = cli.run([*arguments, "--state", str(places.state)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drive that each test copies."""
    state = tmp_path_factory.mktemp("made") / "state"
    assert cli.run(["init", "--json", "--kit-file", str(state.parent / "kit.txt"), "--state", str(state)]) == 0
    return state


@pytest.fixture
def drive(made: Path, places: StatePlaces) -> StatePlaces:
    """A drive with a kit (wrap 1), beside it in `kit.txt`, and a key file (wrap 2)."""
    shutil.copytree(made, places.state, symlinks=True)
    shutil.copy(made.parent / "kit.txt", places.state.parent / "kit.txt")
    return places


def passphrase_file(folder: Path, text: str = PASSPHRASE) -> str:
    (folder / "passphrase").write_text(text + "\n")
    return str(folder / "passphrase")


def numbers(said: str) -> list[int]:
    return [wrap["number"] for wrap in json.loads(said)["wraps"]]


def refused(result: tuple[int, str, str], code: ExitCode, words: str) -> None:
    """One sentence and a code."""
    found, out, err = result
    assert (found, out) == (code, "")
    assert err.count("\n") == 1
    assert words in err


# --- making ---


def test_init_prints_a_kit_that_opens_the_drive(run: Run, places: StatePlaces, tmp_path: Path) -> None:
    code, out, err = run("init", "--passphrase-file", passphrase_file(tmp_path))
    assert (code, err) == (0, "")
    made = parse_kit(out)
    assert made.store_url == f"file://{places.store}"
    opened = Keys.open(places, Brought(passphrase=PASSPHRASE))
    assert opened.ring.open_with_secret(made.secret) == opened.held == Keys.open(places, Brought()).held
    assert opened.held.drive_id == made.drive_id
    assert places.key_file.stat().st_mode & 0o777 == 0o600
    assert not places.kit_file.exists()
    refused(run("init"), ExitCode.REFUSED, "already")


def test_init_for_a_program_prints_no_secret(run: Run, places: StatePlaces) -> None:
    code, out, _ = run("init", "--json")
    assert code == 0
    assert json.loads(out) == {"state": str(places.state), "kit_file": str(places.kit_file)}
    assert places.kit_file.stat().st_mode & 0o777 == 0o600
    assert parse_kit(places.kit_file.read_text()).secret


def test_a_store_that_is_taken_is_refused_and_another_may_be_named(run: Run, tmp_path: Path) -> None:
    other, full = tmp_path / "other", tmp_path / "full"
    assert cli.run(["init", "--json", "--state", str(other)]) == 0
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    run("status")
    refused(run("init", "--store", f"file://{full}"), ExitCode.STORE_REFUSED, "is not empty")
    assert [each.name for each in full.iterdir()] == ["letter.txt"]
    before = sorted((other / "store").rglob("*"))
    refused(run("init", "--store", f"file://{other}/store"), ExitCode.REFUSED, "it holds drive")
    assert sorted((other / "store").rglob("*")) == before
    assert run("init", "--json", "--store", f"file://{tmp_path}/free")[0] == 0


async def test_a_store_that_cannot_do_what_a_drive_needs_is_refused(places: StatePlaces) -> None:
    class Forgetful(MemoryStore):
        async def list_page(self, prefix: str, after: str = "") -> Page:
            return Page([], is_last=True)

    forgetful, kits = Forgetful(), list[Kit]()

    @asynccontextmanager
    async def opening(_url: StoreUrl, _clock: Clock) -> AsyncIterator[MemoryStore]:
        yield forgetful

    with pytest.raises(CloudRefused, match="its listings do not show") as caught:
        await making.make_drive(places, making.Wishes(give_kit=kits.append), opening=opening)
    assert caught.value.code == "store_refused"
    assert forgetful.objects == {}
    assert kits == []
    assert not is_made(places)


def test_bad_wishes_are_refused_before_anything_is_made(run: Run, places: StatePlaces, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    for words, code, arguments in (
        ("too weak", ExitCode.USAGE, ["--passphrase-file", passphrase_file(tmp_path, "aaaaaaaaaaaaaaaa")]),
        ("cannot be read", ExitCode.USAGE, ["--passphrase-file", str(tmp_path / "nowhere")]),
        ("opens with a passphrase only", ExitCode.USAGE, ["--no-keyfile"]),
        ("no terminal", ExitCode.USAGE, ["--ask-passphrase"]),
        ("is no recovery kit", ExitCode.REFUSED, ["--kit-file", str(tmp_path / "letter.txt")]),
        ("url = 'ftp://x' is not allowed", ExitCode.USAGE, ["--store", "ftp://x"]),
    ):
        refused(run("init", *arguments), code, words)
        assert not places.layout.exists()
        assert not places.key_ring.exists()
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_a_drive_without_a_key_file_opens_with_its_passphrase_only(
    run: Run, places: StatePlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = passphrase_file(tmp_path)
    assert run("init", "--json", "--no-keyfile", "--passphrase-file", file)[0] == 0
    assert not places.key_file.exists()
    refused(run("keys", "list"), ExitCode.LOCKED, "no key file")
    with pytest.raises(Locked):
        Keys.open(places, Brought())
    assert run("keys", "list", "--passphrase-file", file)[0] == 0
    monkeypatch.setenv("HYBRID_DRIVE_PASSPHRASE", "another horse, another staple")
    refused(run("keys", "list"), ExitCode.LOCKED, "does not open the drive")
    monkeypatch.setenv("HYBRID_DRIVE_PASSPHRASE", PASSPHRASE)
    assert run("keys", "list")[0] == 0


def test_a_drive_from_before_gets_a_store_and_keys_and_loses_nothing(tmp_path: Path) -> None:
    with tarfile.open(GOLDEN / "drive-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    places = StatePlaces(tmp_path / "drive-1")
    places.layout.write_text("1\n")
    places.config.write_text("[cuts]\nmax_rows = 7\n")
    kits: list[Kit] = []
    trio.run(making.give_keys, places, making.Wishes(give_kit=kits.append))
    opened = Keys.open(places, Brought())
    assert opened.ring.open_with_secret(kits[0].secret) == opened.held
    assert places.layout.read_text() == f"{LAYOUT}\n"
    assert "max_rows = 7" in places.config.read_text()

    async def look() -> None:
        await opened.follow(await open_dir_store(places.store))
        async with DriveBuilder(places.state, names=opened.names) as built:
            assert built.drive.sealing is not None
            await built.drive.sealing.seal_all()
            assert await built.read("letters/a.txt") == b"second"
            assert await built.read("big.bin") == bytes(range(256)) * 4096
            (monday,) = built.drive.snapshots.all()
            assert await built.read_past(monday.name, "letters/a.txt") == b"first draft"
            built.drive.cuts.log()
            assert check(built.drive.database, built.state / "segments")[0] == []

    trio.run(look)


@pytest.mark.expected_log("the drive has a store and keys now; its recovery kit is in")
def test_the_start_of_a_drive_from_before_says_where_its_kit_is(drive: StatePlaces) -> None:
    for each in (drive.key_file, drive.key_ring, drive.drive_header):
        each.unlink()
    shutil.rmtree(drive.store)
    drive.layout.write_text("1\n")
    opened = unlock(drive, Brought())
    assert opened.ring.open_with_secret(parse_kit(drive.kit_file.read_text()).secret) == opened.held


# --- changing ---


def test_passphrases_kits_and_generations_come_and_go(run: Run, drive: StatePlaces, tmp_path: Path) -> None:
    file = passphrase_file(tmp_path)
    assert numbers(run("keys", "add-passphrase", "--name", "Anna", "--passphrase-file", file, "--json")[1]) == [1, 2, 3]
    code, out, _ = run("keys", "kit")
    assert code == 0
    assert parse_kit(out).store_url == f"file://{drive.store}"
    assert "wrap 4" in out
    assert run("keys", "kit", "--file", str(tmp_path / "page.html"))[0] == 0
    html = parse_kit((tmp_path / "page.html").read_text())
    assert run("keys", "rotate")[0] == 0
    assert numbers(run("keys", "revoke", "3", "--json")[1]) == [1, 2, 4, 5]
    refused(run("keys", "list", "--passphrase-file", file), ExitCode.LOCKED, "was revoked")
    refused(run("keys", "revoke", "3"), ExitCode.NOT_FOUND, "no wrap 3")
    for number in ("1", "4"):
        assert run("keys", "revoke", number)[0] == 0
    refused(run("keys", "revoke", "5"), ExitCode.REFUSED, "last passphrase or kit")
    listed = run("keys", "list")[1]
    assert "5\tkit\trecovery kit" in listed
    opened = Keys.open(drive, Brought())
    assert opened.ring.open_with_secret(html.secret) == opened.held
    refused(run("keys", "list", "--kit", str(tmp_path / "kit.txt")), ExitCode.LOCKED, "This kit (wrap 1) was revoked")


def test_revoking_this_machine_makes_it_a_new_key_file(run: Run, drive: StatePlaces) -> None:
    stolen = drive.key_file.read_text()
    assert numbers(run("keys", "revoke", "2", "--json")[1]) == [1, 3]
    assert Keys.open(drive, Brought()).ring.head.number == 4
    drive.key_file.write_text(stolen)
    refused(run("keys", "list"), ExitCode.LOCKED, "This key file (wrap 2) was revoked")


def test_without_the_store_nothing_is_changed_and_the_drive_opens(
    run: Run, drive: StatePlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.making.PATIENCE", RetryPolicy(deadline_s=0.0))
    before = drive.key_ring.read_bytes()
    drive.store.rename(drive.state / "unplugged")
    assert run("keys", "list")[0] == 0
    refused(run("keys", "rotate"), ExitCode.OFFLINE, "cannot be reached")
    assert drive.key_ring.read_bytes() == before
    (drive.state / "unplugged").rename(drive.store)
    assert run("keys", "rotate")[0] == 0


def test_damage_is_refused_with_a_sentence(run: Run, drive: StatePlaces, tmp_path: Path) -> None:
    kit_file = str(tmp_path / "kit.txt")
    good = drive.key_file.read_text()
    drive.key_file.chmod(0o644)
    refused(run("keys", "list"), ExitCode.LOCKED, "not for its owner alone (mode 644")
    assert run("keys", "list", "--kit", kit_file)[0] == 0
    drive.key_file.chmod(0o600)
    drive.key_file.write_text(good.replace("secret ", "secret 0"))
    refused(run("keys", "list"), ExitCode.LOCKED, "is damaged or no key file")
    drive.key_file.write_text(good)
    kit_text = (tmp_path / "kit.txt").read_text()
    line = next(line for line in kit_text.splitlines() if line.startswith("  2:"))
    (tmp_path / "kit.txt").write_text(kit_text.replace(line, line[:-8] + ("Z" if line[-8] != "Z" else "Y") + line[-7:]))
    refused(run("keys", "list", "--kit", kit_file), ExitCode.LOCKED, "Line 2")
    ring = drive.key_ring.read_bytes()
    drive.key_ring.write_bytes(ring[:-1] + bytes((ring[-1] ^ 1,)))
    refused(run("keys", "list"), ExitCode.DAMAGED, "was damaged, or changed by somebody")
    drive.key_ring.write_bytes(b"nonsense")
    refused(run("keys", "list"), ExitCode.OTHER_VERSION, "not a key ring")
    drive.key_ring.unlink()
    refused(run("keys", "list"), ExitCode.DAMAGED, "key-ring cannot be read")


def test_nothing_secret_is_left_anywhere_but_in_the_key_file(run: Run, places: StatePlaces, tmp_path: Path) -> None:
    file = passphrase_file(tmp_path)
    printed = [run("init", "--passphrase-file", file)[1], run("keys", "kit")[1]]
    other = passphrase_file(tmp_path, "Bernds " * 4)
    fresh = run("keys", "add-passphrase", "--name", "Bernd", "--passphrase-file", other)
    rotated, revoked = run("keys", "rotate"), run("keys", "revoke", "1", "--json")
    assert [each[0] for each in (fresh, rotated, revoked)] == [0, 0, 0]
    opened = Keys.open(places, Brought())
    pages = [parse_kit(page) for page in printed]
    assert pages[0].secret != pages[1].secret
    secrets = {"the drive's secret": opened.held.secret, "the block key": opened.held.block_key}
    secrets |= {f"generation {number}": key for number, key in opened.held.generations.items()}
    secrets |= {f"kit {number}": page.secret for number, page in enumerate(pages)}
    secrets |= {"Anna's passphrase": PASSPHRASE.encode(), "Bernd's": b"Bernds Bernds", "a name": b"Bernd"}
    symbols = {
        line.strip() for page in printed for line in page.splitlines() if line.strip()[:2] in ("1:", "2:", "3:", "4:")
    }
    assert len(symbols) == 8
    secrets |= {line: line.encode() for line in symbols}
    files = [each for each in places.state.rglob("*") if each.is_file() and each != places.key_file]
    assert {"key-ring", "drive", "000007", "drive.db"} <= {each.name for each in files}
    for each in files:
        body = each.read_bytes()
        for what, secret in secrets.items():
            assert secret not in body, f"{what} in {each}"
            assert secret.hex().encode() not in body, f"{what} in {each}"
    for _, out, err in (fresh, rotated, revoked):
        assert PASSPHRASE not in out + err
        assert "Bernds" not in out + err


# --- following the store ---


class Dying(Exception):
    """The core dies here."""


@pytest.fixture
async def store(drive: StatePlaces) -> MemoryStore:
    """What the drive's store holds, in memory."""
    opened, store = Keys.open(drive, Brought()), MemoryStore()
    await put_header(store, opened.header_bytes)
    await put_ring(store, opened.ring)
    return store


async def test_a_change_that_died_behind_the_store_is_followed(
    drive: StatePlaces, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Dying

    opened = Keys.open(drive, Brought())
    with monkeypatch.context() as patch:
        patch.setattr(keys, "write_durably", die)
        with pytest.raises(Dying):
            await opened.rotate(store, 2)
    again = Keys.open(drive, Brought())
    assert again.held.current == 1
    await again.follow(store)
    assert again.held.current == 2
    assert Keys.open(drive, Brought()).held == again.held
    await again.rotate(store, 3)
    assert again.held.current == 3


@pytest.mark.parametrize("writes", [0, 1, 2])
async def test_revoking_this_machine_opens_wherever_it_dies(
    drive: StatePlaces, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    left = [writes]
    real = write_durably

    def dying(*arguments: Any) -> None:
        if not left[0]:
            raise Dying
        left[0] -= 1
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(keys, "write_durably", dying)
        with pytest.raises(Dying):
            await Keys.open(drive, Brought()).revoke(store, 2, 2)
    again = Keys.open(drive, Brought())
    await again.follow(store)
    mine = next(wrap.number for wrap in again.wraps() if wrap.kind == WrapKind.MACHINE)
    await again.revoke(store, mine, 3)
    assert Keys.open(drive, Brought()).held == again.held


async def test_an_older_state_of_the_store_is_refused_and_nothing_of_it_used(
    drive: StatePlaces, store: MemoryStore
) -> None:
    older = dict(store.objects)
    opened = Keys.open(drive, Brought())
    await opened.rotate(store, 2)
    store.objects = older
    with pytest.raises(RingRolledBack):
        await opened.follow(store)
    with pytest.raises(RingRolledBack):
        await opened.rotate(store, 3)
    assert store.objects == older
    assert opened.held.current == 2


async def test_a_ring_of_the_same_number_that_is_another_one_is_refused(
    drive: StatePlaces, store: MemoryStore, tmp_path: Path
) -> None:
    shutil.copytree(drive.state, tmp_path / "twin")
    twin, there = Keys.open(StatePlaces(tmp_path / "twin"), Brought()), MemoryStore()
    there.objects = dict(store.objects)
    await twin.rotate(there, 2)
    opened = Keys.open(drive, Brought())
    await opened.rotate(store, 2)
    with pytest.raises(RingRolledBack):
        await opened.follow(there)


async def test_another_drives_store_is_refused(drive: StatePlaces, store: MemoryStore, tmp_path: Path) -> None:
    other = MemoryStore()
    opened = Keys.open(drive, Brought())
    ring, _, _ = KeyRing.create(1)
    await put_header(other, opened.header_bytes[:10] + bytes(16) + opened.header_bytes[26:])
    await put_ring(other, ring)
    before = dict(other.objects)
    with pytest.raises(CloudError, match="it holds drive 0000"):
        await opened.follow(other)
    assert other.objects == before


@pytest.mark.parametrize("what", ["drive", "keys/"])
@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
async def test_what_is_damaged_in_the_store_is_put_there_anew(
    drive: StatePlaces, store: MemoryStore, what: str, share: float, expected_log: Callable[[str], None]
) -> None:
    """Without its header and its ring nobody could recover the drive, whose machine may burn any day."""
    expected_log("was damaged, and was put there anew")
    opened = Keys.open(drive, Brought())
    name = next(name for name in store.objects if name.startswith(what))
    body = store.objects[name]
    at = int(share * len(body))
    store.objects[name] = body[:at] + bytes([body[at] ^ 4]) + body[at + 1 :]
    await opened.follow(store)
    assert store.objects[name] == body
    assert opened.held == Keys.open(drive, Brought()).held


async def test_a_damaged_ring_that_the_store_will_not_take_anew_stops_nobody(
    drive: StatePlaces, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, expected_log: Callable[[str], None]
) -> None:
    expected_log("hybrid-drive keys rotate")

    async def put(*_: object, **__: object) -> None:
        raise StoreDenied("objects here are locked")

    opened = Keys.open(drive, Brought())
    name = next(name for name in store.objects if name.startswith("keys/"))
    store.objects[name] = store.objects[name][:-1]
    with monkeypatch.context() as patch:
        patch.setattr(store, "put", put)
        await opened.follow(store)
    expected_log("was damaged, and was put there anew")
    await opened.follow(store)


async def test_a_line_that_damages_the_ring_again_and_again_accuses_nobody(
    drive: StatePlaces, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, get, asked = Keys.open(drive, Brought()), store.get, Counter[str]()

    async def damaged(name: str, start: int = 0, length: int | None = None, **options: object) -> bytes:
        asked[name] += 1
        body = await get(name, start, length)
        return body if asked[name] > 2 else body[:-1] + bytes([body[-1] ^ 1])

    monkeypatch.setattr(store, "get", damaged)
    before = dict(store.objects)
    await opened.follow(store)
    assert store.objects == before


async def test_a_machine_revoked_elsewhere_follows_no_more(drive: StatePlaces, store: MemoryStore) -> None:
    opened = Keys.open(drive, Brought())
    ring, _ = opened.ring.revoke(opened.held, 2, 2)
    await put_ring(store, ring)
    with pytest.raises(WrapRevoked):
        await opened.follow(store)


# --- on a running drive ---


@pytest.fixture
def service(drive: StatePlaces) -> Iterator[FakeService]:
    service = FakeService()
    with serving(service, drive.control_socket):
        yield service


def test_a_running_drive_is_asked(service: FakeService, drive: StatePlaces) -> None:
    with ControlClient(drive.control_socket) as core:
        assert core.add_passphrase("words", "Anna").wraps[-1].name == "Anna"
        assert service.keys.passphrases == ["words"]
        assert core.rotate_keys().generation == 2
        assert [wrap.kind for wrap in core.revoke_key(1).wraps] == ["passphrase"]
        assert parse_kit(core.new_kit().text).secret == bytes(32)
        assert [wrap.kind for wrap in core.keys().wraps] == ["passphrase", "kit"]
        service.keys.is_offline = True
        with pytest.raises(ControlProblem) as caught:
            core.rotate_keys()
        assert caught.value.problem.code == "offline"


def test_keys_are_for_the_owner_alone(drive: StatePlaces) -> None:
    socket = drive.control_socket
    with serving(FakeService(), socket, core_uid=1000), ControlClient(socket, acting_uid=1001) as core:
        for ask in (core.keys, core.rotate_keys, core.new_kit, lambda: core.revoke_key(1)):
            with pytest.raises(ControlProblem) as caught:
                ask()
            assert caught.value.problem.code == "no_rights"
