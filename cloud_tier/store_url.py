"""Where a drive's store is, as one line of text, and how it is opened.

    file:///media/usb/drive                                     a folder
    s3://bucket/prefix?endpoint=https://HOST:PORT&region=NAME   a bucket; without an endpoint Amazon's
    …&insecure=1                                                plain http to another machine, on the owner's word

Promises that both ways agree, that there is one spelling of each store, and that a refusal is a sentence. Refuses
credentials in the address, which is printed on the recovery kit and shown in the portal, and words that it does not
know: a typing error must not quietly mean the default.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from cloud_tier.clock import Clock
from cloud_tier.dir_store import open_dir_store
from cloud_tier.errors import StoreMisconfigured
from cloud_tier.late_store import Late
from cloud_tier.limiting import Limiting
from cloud_tier.measuring import Measuring
from cloud_tier.object_store import ObjectStore
from cloud_tier.retrying import Retrying, RetryPolicy
from cloud_tier.timetable import Timetable

PROMPT = RetryPolicy(deadline_s=5.0)
"""A line that stumbles is waited for; for one that is cut, readers hear so soon."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # S3's own rule
_WORDS = ("endpoint", "region", "insecure")


@dataclass(frozen=True)
class DirUrl:
    """A folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return "file://" + quote(str(self.path))


@dataclass(frozen=True)
class S3Url:
    """A bucket, below `prefix` (no slash at either end), at `endpoint` (None: Amazon's)."""

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    insecure: bool = False

    def __str__(self) -> str:
        words = {"endpoint": self.endpoint, "region": self.region, "insecure": "1" if self.insecure else None}
        query = urlencode({key: value for key, value in words.items() if value}, safe=":/[]")
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"s3://{self.bucket}{path}" + (f"?{query}" if query else "")


StoreUrl = DirUrl | S3Url


@dataclass(frozen=True)
class OpenStore:
    """A store ready for use, and the two of its wrappers that can tell something."""

    store: ObjectStore
    prompt: ObjectStore
    """The same one for whoever has somebody waiting: it gives up after seconds."""
    measured: Measuring
    """Sees every attempt."""
    retried: Retrying


def parse_store_url(text: str) -> StoreUrl:
    """Raises StoreMisconfigured with a sentence."""
    try:
        parts = urlsplit(text.strip())
        _ = parts.port
    except ValueError as error:
        raise StoreMisconfigured(f"{text} is not an address of a store: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise StoreMisconfigured("an address of a store holds no credentials; put them into ~/.aws/credentials")
    match parts.scheme:
        case "file":
            return _dir_url(text, parts.netloc, unquote(parts.path), parts.query + parts.fragment)
        case "s3":
            words = dict(parse_qsl(parts.query, keep_blank_values=True))
            return _s3_url(text, parts.netloc, unquote(parts.path).strip("/"), words)
    raise StoreMisconfigured(f"{text} is neither file:///FOLDER nor s3://BUCKET/PREFIX?endpoint=…")


def _dir_url(text: str, host: str, path: str, rest: str) -> DirUrl:
    if host or rest or not path.startswith("/") or Path(path) == Path("/"):
        raise StoreMisconfigured(f"{text} is not a folder of this machine; write file:///FOLDER")
    return DirUrl(Path(path))


def _s3_url(text: str, bucket: str, prefix: str, words: dict[str, str]) -> S3Url:
    unknown = [word for word in words if word not in _WORDS]
    if unknown:
        raise StoreMisconfigured(f"{text} says {unknown[0]}, which means nothing; known are {', '.join(_WORDS)}")
    if not _BUCKET.fullmatch(bucket):
        raise StoreMisconfigured(f"{text} names no bucket; write s3://BUCKET/PREFIX")
    if not re.fullmatch(r"[A-Za-z0-9._/-]*", prefix) or "//" in prefix:
        raise StoreMisconfigured(f"{text}: a prefix is made of letters, digits, dots, dashes and single slashes")
    if words.get("insecure", "1") not in ("0", "1"):
        raise StoreMisconfigured(f"{text}: insecure is 0 or 1")
    endpoint = words.get("endpoint") or None
    if endpoint is not None and "@" in endpoint:
        raise StoreMisconfigured("an address of a store holds no credentials; put them into ~/.aws/credentials")
    return S3Url(bucket, prefix, endpoint, words.get("region") or None, words.get("insecure") == "1")


async def open_store(
    url: StoreUrl,
    clock: Clock,
    *,
    create: bool = False,
    timetable: Timetable | None = None,
    policy: RetryPolicy | None = None,
    chance: random.Random | None = None,
) -> OpenStore:
    """The store at `url`, asked again where that helps, measured, and slowed down by `timetable`.

    `create` makes a new store in a folder that has none; a bucket must be there. Raises what
    `cloud_tier.dir_store.open_dir_store` and `cloud_tier.s3_store.open_s3_store` raise.
    """
    return _wrapped(await _open_bare(url, create), clock, timetable, policy, chance)


def store_at(
    url: StoreUrl,
    clock: Clock,
    *,
    timetable: Timetable | None = None,
    policy: RetryPolicy | None = None,
    chance: random.Random | None = None,
) -> OpenStore:
    """As `open_store`, but the store is opened when it is first asked, so that nothing is raised here."""
    return _wrapped(Late(lambda: _open_bare(url, create=False)), clock, timetable, policy, chance)


def _wrapped(
    bare: ObjectStore,
    clock: Clock,
    timetable: Timetable | None,
    policy: RetryPolicy | None,
    chance: random.Random | None,
) -> OpenStore:
    measured = Measuring(bare, clock)
    retried = Retrying(measured, policy, chance)
    prompt = Retrying(measured, PROMPT if policy is None else policy, chance)
    if timetable is None or timetable.is_unlimited:
        return OpenStore(retried, prompt, measured, retried)
    # Outside of the retries: what is sent again takes its turn on the line again, and is not timed meanwhile. Each has
    # limits of its own: nearly all that is sent goes by the one, and nearly all that is fetched by the other.
    return OpenStore(Limiting(retried, timetable, clock), Limiting(prompt, timetable, clock), measured, retried)


async def _open_bare(url: StoreUrl, create: bool) -> ObjectStore:
    if isinstance(url, DirUrl):
        return await open_dir_store(url.path, create=create)
    # Here, because boto3 takes a quarter of a second and 30 MB that a drive with a folder can do without.
    from cloud_tier.s3_store import open_s3_store

    return await open_s3_store(url.bucket, url.prefix, endpoint=url.endpoint, region=url.region, insecure=url.insecure)
