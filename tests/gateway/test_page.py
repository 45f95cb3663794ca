"""How the files of the page are served, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from streamer.gateway import page
from tests.gateway.fake_host import FakeHost
from tests.gateway.serving import get, serving, with_loop

STATIC = Path(page.__file__).parent / "static"
FILES = sorted(path.name for path in STATIC.iterdir())
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@pytest.mark.parametrize("name", FILES)
@with_loop
async def test_every_file_is_served(name: str) -> None:
    """With its type, a policy that allows nothing from elsewhere, and never to be guessed at."""
    async with serving(FakeHost()) as addresses:
        response = await get(addresses, f"/page/{name}")
    assert response.status_code == 200
    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["content-type"].split(";")[0] == TYPES[name.rpartition(".")[2]]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-cache"
    policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]


@with_loop
async def test_the_address_of_the_server_is_the_page() -> None:
    """`/` is the page itself."""
    async with serving(FakeHost()) as addresses:
        response = await get(addresses, "/")
    assert response.content == (STATIC / "index.html").read_bytes()


@with_loop
async def test_a_known_version_is_not_sent_again() -> None:
    """A browser that shows the tag of what it has gets 304; with another tag it gets the file."""
    async with serving(FakeHost()) as addresses, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://{addresses.host}:{addresses.http_port}/page/main.js"
        tag = (await client.get(url)).headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await client.get(url, headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (await client.get(url, headers={"if-none-match": '"other"'})).status_code == 200
        assert (await client.head(url)).content == b""


@pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/..%2f__init__.py", "/page/%2e%2e/__init__.py"])
@with_loop
async def test_nothing_else_is_served(path: str) -> None:
    """Only the files of the page have addresses."""
    async with serving(FakeHost()) as addresses:
        assert (await get(addresses, path)).status_code == 404


def test_modules_are_announced() -> None:
    """Every module but the worklet's is preloaded, so that the page starts after two round trips."""
    index = (STATIC / "index.html").read_text()
    preloaded = set(re.findall(r'rel="modulepreload" href="page/(\S+)"', index)) | {"main.js", "worklet.js"}
    assert preloaded == {name for name in FILES if name.endswith(".js")}
    assert not re.search(r"https?://|style=|\bon\w+=", index)
