"""Paths as options: local ones only, so that a bucket's URL is refused and not made a folder of that name."""

import re
from pathlib import Path
from typing import Any

import click

from cs_keras.errors import ConfigError


class LocalPath(click.ParamType):  # type: ignore[type-arg]
    """A path on this machine."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return `value` as a Path."""
        if re.match(r"[a-z][a-z0-9+.-]+://", str(value)):
            raise ConfigError(
                f"Expected a path on this machine; URLs are not read or written. Received: {value}."
            )
        return Path(value)


LOCAL_PATH = LocalPath()
