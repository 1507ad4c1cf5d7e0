"""A list as a private playlist of a Spotify account: tracks are found by ISRC."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from cs_keras.errors import ConfigError, StorageError
from cs_keras.playlists.entries import Entry, printable

CREDENTIALS = ("SPOTIPY_CLIENT_ID", "SPOTIPY_CLIENT_SECRET", "SPOTIPY_REDIRECT_URI")
SCOPE = "playlist-modify-private"
ITEMS_PER_REQUEST = 100  # what the service takes at a time


@dataclasses.dataclass(frozen=True)
class Added:
    """What became of a list.

    Attributes
    ----------
    url
        The playlist's address.
    found
        Entries that are in it.
    missing
        Entries that have no valid ISRC, or one that the service does not know.
    """

    url: str
    found: tuple[Entry, ...]
    missing: tuple[Entry, ...]


def has_credentials() -> bool:
    """Return whether the environment names an application of the service, as spotipy reads it."""
    return all(os.environ.get(name) for name in CREDENTIALS)


def connect() -> Any:
    """Return a client that asks the account's owner for permission when first used.

    Raises
    ------
    ConfigError
        When spotipy is not installed.
    """
    try:
        import spotipy
    except ImportError as error:
        raise ConfigError(
            "Playlists on Spotify need spotipy, which is not installed: pip install 'cs-keras[spotify]'."
        ) from error
    return spotipy.Spotify(auth_manager=spotipy.SpotifyOAuth(scope=SCOPE))


def add_playlist(client: Any, name: str, entries: Sequence[Entry]) -> Added:
    """Make a private playlist of the entries that the service knows.

    Nothing is made when it knows none of them.

    Parameters
    ----------
    client
        A ``spotipy.Spotify``.
    name
        The playlist's.
    entries
        In order.

    Raises
    ------
    StorageError
        When the service refuses, cannot be reached, or knows none of them.
    """
    try:
        uris = [_find(client, entry.isrc_code) for entry in entries]
        found = tuple(entry for entry, uri in zip(entries, uris, strict=True) if uri)
        if not found:
            raise StorageError(
                f"Spotify knows none of the {len(entries)} tracks by ISRC: no playlist was made."
            )
        made = client.current_user_playlist_create(printable(name), public=False)
        known = [uri for uri in uris if uri]
        for first in range(0, len(known), ITEMS_PER_REQUEST):
            client.playlist_add_items(made["id"], known[first : first + ITEMS_PER_REQUEST])
        missing = tuple(entry for entry, uri in zip(entries, uris, strict=True) if not uri)
        return Added(str(made["external_urls"]["spotify"]), found, missing)
    except StorageError:
        raise
    except Exception as error:  # spotipy's own, those of its sessions, and answers of another shape
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(f"Spotify did not make the playlist: {' '.join(reason)}") from error


def _find(client: Any, isrc: str) -> str | None:
    """Return the address of the service's first track with this ISRC, or None."""
    if not isrc:
        return None
    items = client.search(q=f"isrc:{isrc}", type="track", limit=1)["tracks"]["items"]
    return str(items[0]["uri"]) if items else None
