"""The verbs of `hybrid-drive keys`, over the keys of a drive that runs or of one that is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from appliance.cloud_errors import code_of, sentence_of
from appliance.control.protocol import KeyKind, KeyState, KeyWrap, KitPage, ServiceError
from appliance.errors import ApplianceError
from appliance.keys import Keys
from appliance.passphrases import require_strong
from cloud_tier.clock import Clock
from cloud_tier.errors import CloudError
from cloud_tier.object_store import ObjectStore
from cloud_tier.store_url import StoreUrl
from cloud_tier.wraps import WrapKind

_KINDS: dict[WrapKind, KeyKind] = {
    WrapKind.PASSPHRASE: "passphrase",
    WrapKind.KIT: "kit",
    WrapKind.MACHINE: "key file",
}


class KeyVerbs:
    """A `KeyService`."""

    def __init__(self, keys: Keys, store: ObjectStore, url: StoreUrl, clock: Clock) -> None:
        self._keys = keys
        self._store = store
        self._url = url
        self._clock = clock

    async def state(self) -> KeyState:
        with _told():
            return self._shown()

    async def add_passphrase(self, passphrase: str, name: str) -> KeyState:
        with _told():
            await self._keys.add_passphrase(self._store, require_strong(passphrase), name, self._clock.now_ns())
            return self._shown()

    async def revoke(self, number: int) -> KeyState:
        with _told():
            await self._keys.revoke(self._store, number, self._clock.now_ns())
            return self._shown()

    async def rotate(self) -> KeyState:
        with _told():
            await self._keys.rotate(self._store, self._clock.now_ns())
            return self._shown()

    async def new_kit(self) -> KitPage:
        with _told():
            made = await self._keys.new_kit(self._store, self._url, self._clock.now_ns())
            return KitPage(number=max(wrap.number for wrap in self._keys.wraps()), text=made.text())

    def _shown(self) -> KeyState:
        ring = self._keys.ring.rows
        return KeyState(
            drive=ring.drive_id.hex(),
            ring=ring.number,
            generation=ring.current,
            wraps=[
                KeyWrap(
                    number=wrap.number,
                    kind=_KINDS[wrap.kind],
                    name=wrap.name,
                    made=datetime.fromtimestamp(wrap.made_ns / 1e9, UTC),
                )
                for wrap in self._keys.wraps()
            ],
            revoked=len(ring.revoked),
        )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except CloudError as error:
        raise ServiceError(code_of(error), sentence_of(error)) from error
    except ApplianceError as error:
        raise ServiceError(error.code, error.message) from error
