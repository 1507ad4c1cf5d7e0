"""Settings of the documentation site, which ``make docs`` builds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from cs_keras import __version__

project = "cs-keras"
author = "the cs-keras authors"
release = version = __version__
html_title = f"cs-keras {release}"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
html_theme = "furo"
html_copy_source = False
default_role = "code"  # of `names` in docstrings
autodoc_typehints = "description"
autodoc_member_order = "bysource"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4  # links to headings hold here and on the code host

# Notebooks run in folders of their own, once for each version of their text and size of their demo. That is made
# once, and copied to each.
BUILD = Path(__file__).parents[1] / "build"
N_TRACKS = int(os.environ.setdefault("CS_KERAS_DOCS_TRACKS", "400"))
DEMO = os.environ["CS_KERAS_DOCS_DEMO"] = str(BUILD / f"demo-{N_TRACKS}")
if N_TRACKS:
    make_demo = [sys.executable, "-m", "cs_keras", "demo-data", DEMO, "--n-tracks", str(N_TRACKS)]
    subprocess.run(make_demo, check=True, capture_output=True)
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)  # for its cs-keras
os.environ["PYTHONWARNINGS"] = "error::UserWarning,error::FutureWarning"
os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
startup = BUILD / "ipython" / "profile_default" / "startup"
startup.mkdir(parents=True, exist_ok=True)
shutil.copy(Path(__file__).with_name("notebook_startup.py"), startup)
nb_execution_mode = "cache"
nb_execution_excludepatterns = [] if N_TRACKS else ["tutorials/*"]
nb_execution_cache_path = str(BUILD / f"notebooks-{N_TRACKS}")
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_execution_timeout = 1800  # seconds a cell
nb_output_stderr = "remove"  # progress
nb_merge_streams = True
suppress_warnings = ["myst-nb.lexer"]  # of notebooks that are not run


def escape(app: Any, context: Any, lines: list[str]) -> None:
    """Escape what reStructuredText would take for markup in the help of commands."""
    lines[:] = [
        line if line.lstrip().startswith((".. ", ":")) else re.sub(r"([*|])", r"\\\1", line) for line in lines
    ]


def setup(app: Any) -> None:
    """Connect `escape`."""
    for part in ("description", "options"):
        app.connect(f"sphinx-click-process-{part}", escape)
