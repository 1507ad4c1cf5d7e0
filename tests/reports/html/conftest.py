from pathlib import Path

import numpy as np
import pytest
import soundfile

from reports.html.page import Source, write_page
from reports.html.recordings import find_recordings
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from tests.reports.conftest import HOSTILE, write_run
from tests.reports.html.runs_made import DIGEST, keep, keep_inspection, make_space


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seconds of each track of `make_space`, in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("recordings") / "my music #1"
    folder.mkdir()
    for number, track_id in enumerate(make_space().tracks.ids.tolist()):
        tone = 0.1 * np.sin(np.arange(16_000) * (0.05 + number / 200))
        soundfile.write(folder / f"{track_id}.wav", tone, 8_000)
    return folder


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory, audio: Path) -> Path:
    """A page of three models, two of hostile names, with predictions, inspections and recordings."""
    space, runs, out = make_space(), tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("page")
    for number, (model, noise) in enumerate((("bot", 2.0), (HOSTILE[0], 0.1), (HOSTILE[4], 1.0))):
        run = write_run(runs, f"2024-05-01-x-{number:010}", model=model, noise=noise)
        keep(run, space)
        keep_inspection(run, space)
    collected, files = collect_runs(runs), {path.stem: path for path in audio.iterdir()}
    recordings = find_recordings(files, list(files), out)
    source = Source(collected, {DIGEST: space}, dataset="music", recordings=recordings)
    return write_page(make_sections(collected), source, out)[0]
