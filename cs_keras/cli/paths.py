"""Paths as options: where a URL will do, and where only this machine's paths."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from cs_keras.storage.location import Location


class LocalPath(click.ParamType):  # type: ignore[type-arg]
    """A path on this machine: a bucket's URL is refused and not made a folder of that name."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return `value` as a Path."""
        if re.match(r"[a-z][a-z0-9+.-]+://", str(value), re.IGNORECASE):
            raise ConfigError(f"Expected a path on this machine, not a URL. Received: {value}.")
        return Path(value)


class DatasetLocation(click.ParamType):  # type: ignore[type-arg]
    """A dataset folder: a path, or a URL such as ``gs://bucket/prefix``."""

    name = "dataset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Location":
        """Return `value` as a Location."""
        from cs_keras.storage.location import locate  # what opens URLs takes its time to import

        return locate(str(value))


LOCAL_PATH = LocalPath()
DATASET = DatasetLocation()
