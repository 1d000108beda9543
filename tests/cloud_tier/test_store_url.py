"""Addresses of stores, both ways; and a store opened by one."""

from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from kit.fake_clock import FakeClock
from kit.inline_threads import inline_threads
from trio.testing import MockClock

from cloud_tier.errors import StoreMisconfigured, StoreUnavailable
from cloud_tier.store_url import DirUrl, S3Url, StoreUrl, open_store, parse_store_url, store_at

WORDS = st.text("abcXYZ019.-", min_size=1, max_size=8)
URLS = st.one_of(
    st.builds(
        DirUrl,
        st.lists(st.text("ab ?#%ä&+=", min_size=1, max_size=5), min_size=1, max_size=3).map(
            lambda words: Path("/", *words)
        ),
    ),
    st.builds(
        S3Url,
        st.sampled_from(["abc", "drive-of-the-office", "a.b-c"]),
        st.lists(WORDS, max_size=3).map("/".join),
        st.sampled_from([None, "https://s3.example.org", "http://127.0.0.1:9000", "https://[::1]:9000/base"]),
        st.sampled_from([None, "eu-central-1"]),
        st.booleans(),
    ),
)


@given(URLS)
def test_address_is_read_as_it_is_written(url: StoreUrl) -> None:
    assert parse_store_url(str(url)) == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("file:///media/usb/drive", DirUrl(Path("/media/usb/drive"))),
        ("file:///media/my%20disk", DirUrl(Path("/media/my disk"))),
        ("s3://office", S3Url("office")),
        ("s3://office/", S3Url("office")),
        (
            " s3://office/drive/one/?endpoint=https://s3.example.org:9000&region=eu-1",
            S3Url("office", "drive/one", "https://s3.example.org:9000", "eu-1"),
        ),
        ("s3://office?endpoint=http%3A%2F%2F10.0.0.2&insecure=1", S3Url("office", "", "http://10.0.0.2", None, True)),
    ],
)
def test_address_means_this_store(text: str, url: StoreUrl) -> None:
    assert parse_store_url(text) == url


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither"),
        ("/media/usb", "neither"),
        ("https://s3.example.org/bucket", "neither"),
        ("file://host/folder", "this machine"),
        ("file:relative", "this machine"),
        ("file:///", "this machine"),
        ("file:///folder?x=1", "this machine"),
        ("s3://", "no bucket"),
        ("s3://Office", "no bucket"),
        ("s3://ab", "no bucket"),
        ("s3://office/a//b", "prefix"),
        ("s3://office?endpiont=https://x", "endpiont"),
        ("s3://office?insecure=yes", "insecure is 0 or 1"),
        ("s3://key:secret@office", "no credentials"),
        ("s3://office?endpoint=https://key:secret@host", "no credentials"),
        ("s3://[office", "not an address"),
    ],
)
def test_what_is_no_address_is_refused_in_words(text: str, reason: str) -> None:
    with pytest.raises(StoreMisconfigured, match=reason) as caught:
        parse_store_url(text)
    assert "secret" not in str(caught.value)


async def test_store_in_a_folder_is_made_only_when_asked_for(tmp_path: Path) -> None:
    url = DirUrl(tmp_path / "store")
    with pytest.raises(StoreUnavailable):
        await open_store(url, FakeClock())
    opened = await open_store(url, FakeClock(), create=True)
    await opened.store.put("a", b"body")
    again = await open_store(url, FakeClock())
    assert await again.store.get("a") == b"body"
    assert again.measured.statistics().requests == {"get": 1}
    assert again.retried.statistics().calls == 1
    await again.store.aclose()


async def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(StoreMisconfigured, match="insecure=1"):
        await open_store(parse_store_url("s3://office?endpoint=http://10.0.0.2"), FakeClock())


async def test_who_has_somebody_waiting_hears_soon_that_the_store_is_away(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    opened = store_at(DirUrl(tmp_path / "away"), FakeClock())
    for store, longest_s in ((opened.prompt, 10.0), (opened.store, 200.0)):
        begun = trio.current_time()
        with inline_threads(), pytest.raises(StoreUnavailable):
            await store.get("drive")
        assert longest_s / 20 < trio.current_time() - begun < longest_s
    assert opened.measured.statistics().trouble is not None
