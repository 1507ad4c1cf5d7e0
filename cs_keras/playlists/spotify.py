"""Private playlists of a Spotify account; tracks are found by ISRC."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from cs_keras.errors import ConfigError, StorageError
from cs_keras.playlists.entries import Entry, printable

CREDENTIALS = ("SPOTIPY_CLIENT_ID", "SPOTIPY_CLIENT_SECRET", "SPOTIPY_REDIRECT_URI")
SCOPE = "playlist-modify-private"
ITEMS_PER_REQUEST = 100  # limit of the service


@dataclasses.dataclass(frozen=True)
class SpotifyPlaylist:
    """A playlist on Spotify.

    Attributes
    ----------
    url
        URL of the playlist.
    found
        Entries in it.
    missing
        Entries without a valid ISRC, or with one that the service does not know.
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
        spotipy is not installed.
    """
    try:
        import spotipy
    except ImportError as error:
        raise ConfigError(
            "Playlists on Spotify need spotipy, which is not installed: pip install 'cs-keras[spotify]'."
        ) from error
    return spotipy.Spotify(auth_manager=spotipy.SpotifyOAuth(scope=SCOPE))


def add_playlist(client: Any, name: str, entries: Sequence[Entry]) -> SpotifyPlaylist:
    """Create a private playlist of the entries that the service knows, if it knows any.

    Parameters
    ----------
    client
        A ``spotipy.Spotify``.
    name
        Name of the playlist.
    entries
        Entries in order.

    Raises
    ------
    StorageError
        The service refuses, cannot be reached, or knows none of them.
    """
    try:
        uris = [_find(client, entry.isrc_code) for entry in entries]
        found = tuple(entry for entry, uri in zip(entries, uris, strict=True) if uri)
        if not found:
            raise StorageError(
                f"Spotify knows none of the {len(entries)} tracks by ISRC: no playlist was created."
            )
        created = client.current_user_playlist_create(printable(name), public=False)
        known = [uri for uri in uris if uri]
        for first in range(0, len(known), ITEMS_PER_REQUEST):
            client.playlist_add_items(created["id"], known[first : first + ITEMS_PER_REQUEST])
        missing = tuple(entry for entry, uri in zip(entries, uris, strict=True) if not uri)
        return SpotifyPlaylist(str(created["external_urls"]["spotify"]), found, missing)
    except StorageError:
        raise
    except Exception as error:  # spotipy's own, those of its sessions, and answers of another shape
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(f"Spotify did not create the playlist: {' '.join(reason)}") from error


def _find(client: Any, isrc: str) -> str | None:
    """Return the URI of the service's first track with this ISRC, or None."""
    if not isrc:
        return None
    items = client.search(q=f"isrc:{isrc}", type="track", limit=1)["tracks"]["items"]
    return str(items[0]["uri"]) if items else None
