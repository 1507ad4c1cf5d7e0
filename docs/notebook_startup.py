"""What IPython runs before each tutorial: commands print plain text, at once when they end."""

import os
import subprocess

from IPython.core.magic import register_cell_magic

for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):  # Jupyter's
    os.environ.pop(name, None)


@register_cell_magic  # type: ignore[untyped-decorator]
def bash(line: str, cell: str) -> None:
    """Run commands. IPython's own prints pieces of 100 bytes, which the site would end with a line break each."""
    done = subprocess.run(["bash", "-e", "-c", cell], capture_output=True, text=True)
    print(done.stdout, end="")
    if done.returncode:
        raise RuntimeError(done.stderr)
