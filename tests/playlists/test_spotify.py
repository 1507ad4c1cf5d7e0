"""The service's part is played by a server on this machine, spoken to by spotipy where that is installed."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cs_keras.errors import StorageError
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.spotify import CREDENTIALS, add_playlist, has_credentials

KNOWN = {f"ZZAAA00{number:05d}": f"spotify:track:{number:022d}" for number in range(250)}


class FakeClient:
    """What of ``spotipy.Spotify`` is used, in memory."""

    def __init__(self) -> None:
        self.playlists: dict[str, list[str]] = {}

    def search(self, q: str, type: str, limit: int) -> dict[str, Any]:
        assert (type, limit) == ("track", 1)
        uri = KNOWN.get(q.removeprefix("isrc:"))
        return {"tracks": {"items": [{"uri": uri}] if uri else []}}

    def current_user_playlist_create(self, name: str, public: bool) -> dict[str, Any]:
        assert not public
        self.playlists[name] = []
        return {"id": name, "external_urls": {"spotify": f"https://open.example/{name}"}}

    def playlist_add_items(self, playlist_id: str, items: list[str]) -> None:
        assert len(items) <= 100
        self.playlists[playlist_id] += items


def entries(n: int) -> list[Entry]:
    return [Entry(f"t{number}", isrc=isrc) for number, isrc in zip(range(n), KNOWN, strict=False)]


def test_tracks_are_added_in_order_and_those_unknown_are_named() -> None:
    client, unknown = FakeClient(), Entry("unknown", isrc="ZZBBB0000001")
    given = [*entries(150), unknown, Entry("none"), Entry("wrong", isrc="x OR y")]
    added = add_playlist(client, "My\nlist", given)
    assert client.playlists == {"My list": list(KNOWN.values())[:150]}
    assert added.url == "https://open.example/My list"
    assert added.found == tuple(given[:150])
    assert [entry.track_id for entry in added.missing] == ["unknown", "none", "wrong"]


def test_no_playlist_is_made_of_nothing() -> None:
    client = FakeClient()
    with pytest.raises(StorageError, match="none of the 1 tracks"):
        add_playlist(client, "x", [Entry("none")])
    assert not client.playlists


def test_credentials_are_all_three(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    assert not has_credentials()
    for name in CREDENTIALS:
        monkeypatch.setenv(name, "x")
    assert has_credentials()


class Service(BaseHTTPRequestHandler):
    """The few addresses of the web API that are used."""

    received: list[tuple[str, Any]] = []
    status = 200

    def do_GET(self) -> None:
        isrc = parse_qs(urlsplit(self.path).query)["q"][0].removeprefix("isrc:")
        self._answer({"tracks": {"items": [{"uri": KNOWN[isrc]}] if isrc in KNOWN else []}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append((urlsplit(self.path).path, body))
        self._answer({"id": "p" * 22, "external_urls": {"spotify": "https://open.example/p"}})

    def _answer(self, document: Any) -> None:
        content = json.dumps(document if self.status == 200 else {"error": {"message": "no"}}).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def service(status: int) -> Iterator[tuple[str, type[Service]]]:
    handler = type("OneService", (Service,), {"received": [], "status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client_of(address: str) -> Any:
    spotipy = pytest.importorskip("spotipy", reason="spotipy is not installed: the extra 'spotify'")
    client = spotipy.Spotify(auth="token", retries=0, status_retries=0)
    client.prefix = address
    return client


def test_spotipy_sends_what_the_service_expects() -> None:
    with service(200) as (address, handler):
        added = add_playlist(client_of(address), "List", [*entries(120), Entry("none")])
    assert added.url == "https://open.example/p" and len(added.found) == 120
    (made, settings), *items = handler.received
    assert made == "/v1/me/playlists" and settings["name"] == "List" and settings["public"] is False
    assert [len(uris) for _, uris in items] == [100, 20]
    assert [uri for _, uris in items for uri in uris] == list(KNOWN.values())[:120]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_refusal_is_one_sentence(status: int) -> None:
    with (
        service(status) as (address, _),
        pytest.raises(StorageError, match="did not create the playlist") as caught,
    ):
        add_playlist(client_of(address), "List", entries(1))
    assert "\n" not in str(caught.value)
