"""A page at the size of the thesis's test set: the time to write and to open it, and response times of its map.

    python -m benchmarks.page RUNS [--n-tracks 11333] [--n-factors 200]

Evaluations are those of RUNS, which are copied. Predictions of their models are replaced: factors are drawn around
forty centres, names of tracks are generated. If Chromium is installed, it opens the page, and draws the map by
WebGL and, with WebGL disabled, as SVG; the pixels are read back before the time is taken.
"""

import argparse
import html
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from cs_keras.data.schema import make_tracks
from cs_keras.factors.scaling import fit_scaler
from cs_keras.factors.store import Factors
from cs_keras.run_files.names import PREDICTIONS_FILE
from cs_keras.run_files.predictions import Predictions
from cs_keras.runs import write_npz
from reports.html.page import ASSETS, MAP_ASSETS, PAGE_FILE, Source, write_page
from reports.html.spaces import Space
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections

N_GENRES = 40
N_BY_ARTIST = 8
MAP_SCRIPTS = (*MAP_ASSETS, "map-1.js", "probe.js")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless=new", "--no-sandbox", "--window-size=1200,900", "--dump-dom")
DRAWING = {
    "WebGL": ("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "SVG": ("--disable-3d-apis",),
}
REPORT = """
const text = JSON.stringify({ %s });
document.body.append(Object.assign(document.createElement("pre"), { id: "probe", textContent: text }));
"""
OPENED = 'document.body.getBoundingClientRect(); const found = [["page laid out", performance.now()]];'
PROBE = """
const place = document.querySelector(".map"), found = [], began = performance.now();
showMap(place, window.trackMaps["map-1.js"]);
const plot = document.querySelector(".map-plot");
const drawn = () => {
  plot.getBoundingClientRect();
  for (const canvas of plot.querySelectorAll("canvas")) {
    const gl = canvas.getContext("webgl");
    gl?.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  }
};
const time = (what, act) => {
  const began = performance.now();
  act();
  drawn();
  found.push([what, performance.now() - began]);
};
drawn();
found.push(["first drawing", performance.now() - began]);
time("hover", () => Plotly.Fx.hover(plot, { xval: 0, yval: 0 }, "xy"));
time("click", () => plot.emit("plotly_click", { points: [{ customdata: 5 }] }));
const [select, search] = ["select", "input"].map((tag) => place.querySelector(tag));
for (const value of ["artist", "fold", "error", "genre"])
  time(`colour by ${value}`, () => { select.value = value; select.dispatchEvent(new Event("change")); });
time("search", () => { search.value = "title 77"; search.dispatchEvent(new Event("input")); });
time("zoom", () => Plotly.relayout(plot, { "xaxis.range": [-20, 20] }));
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--n-tracks", type=int, default=11_333)
    parser.add_argument("--n-factors", type=int, default=200)
    arguments = parser.parse_args()
    space, predictions = make_space(arguments.n_tracks, arguments.n_factors)
    with tempfile.TemporaryDirectory(prefix="cs-keras-page-") as temporary:
        folder = Path(temporary)
        took, busy = write(arguments.runs, folder, space, predictions)
        size = sum((folder / name).stat().st_size for name in (PAGE_FILE, "map-1.js"))
        print(
            f"page of {arguments.n_tracks:,} tracks, {arguments.n_factors} factors: {took:.0f} s, {busy:.0f} s of "
            f"processor time; page and map {size / 1e6:.1f} MB",
            flush=True,
        )
        if CHROMIUM is None:
            raise SystemExit("Chromium is not installed; nothing was drawn.")
        page = (folder / PAGE_FILE).read_text(encoding="utf-8")
        script = '<script src="probe.js" defer></script></body>'
        show("whole page", probe(folder, page.replace("</body>", script), f"{OPENED}{REPORT % 'found'}"))
        scripts = "".join(f'<script src="{name}" defer></script>' for name in MAP_SCRIPTS)
        head = f'<!DOCTYPE html><meta charset="utf-8"><link rel="stylesheet" href="{ASSETS[0]}">{scripts}'
        only_map = f'<html class="scripted">{head}<body><div class="map"></div></body>'
        for name, options in DRAWING.items():
            show(f"map by {name}", probe(folder, only_map, f"{PROBE}{REPORT % 'found'}", options))


def make_space(n_tracks: int, n_factors: int) -> tuple[Space, Predictions]:
    """Return tracks of two folds with true factors around the centres of genres, and predictions."""
    rng = np.random.default_rng(0)
    genres = rng.integers(0, N_GENRES, n_tracks)
    true = rng.standard_normal((N_GENRES, n_factors), np.float32)[genres]
    true += rng.standard_normal(true.shape, np.float32)
    rows = [
        {
            "track_id": f"track-{i}",
            "title": f"Title {i}",
            "artist": f"Artist {i // N_BY_ARTIST}",
            "album": "",
            "isrc": "",
            "genres": [f"genre {genre}"],
            "duration_s": 10.0,
            "fold": 8 + i % 2,
            "shard": "s",
            "first_frame": 0,
            "n_frames": 1,
        }
        for i, genre in enumerate(genres.tolist())
    ]
    tracks = make_tracks(rows)
    factors = Factors(
        name="wmf",
        track_ids=tracks.ids,
        item_factors=true,
        has_factors=np.ones(n_tracks, np.bool_),
        playlist_ids=np.array([], np.str_),
        playlist_factors=np.zeros((0, n_factors), np.float32),
        scaler=fit_scaler("standardize", true),
        protocol="strict",
        config=None,
        quality={},
    )
    predicted = true + 0.5 * rng.standard_normal(true.shape, np.float32)
    return Space(tracks, factors), Predictions(tracks.ids, predicted, predicted)


def write(runs: Path, folder: Path, space: Space, predictions: Predictions) -> tuple[float, float]:
    """Write a page of the evaluations in `runs` and of other predictions; return time and processor time in s."""
    copies = folder / "runs"
    unused = ("report", "tensorboard", "model.keras", "inspection.npz")
    shutil.copytree(runs, copies, ignore=shutil.ignore_patterns(*unused))
    for done in copies.glob("*/DONE"):
        done.write_text("")  # without checksums, of files that are replaced
        arrays = {"factors": predictions.factors, "scaled_factors": predictions.scaled_factors}
        write_npz(done.parent / PREDICTIONS_FILE, track_ids=predictions.track_ids, **arrays)
    collected = collect_runs(copies)
    spaces = {group.data_digest: space for group in collected.groups}
    start, busy = time.perf_counter(), time.process_time()
    write_page(make_sections(collected), Source(collected, spaces), folder)
    return time.perf_counter() - start, time.process_time() - busy


def probe(folder: Path, page: str, script: str, options: tuple[str, ...] = ()) -> dict[str, object]:
    """Open a page with a script of measurements in a browser, and return what it found."""
    (folder / "probed.html").write_text(page, encoding="utf-8")
    (folder / "probe.js").write_text(script, encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *OPTIONS, *options, profile, (folder / "probed.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    written = re.search(r'<pre id="probe">(.*?)</pre>', ran.stdout, re.DOTALL)
    if written is None:
        raise SystemExit(f"The browser drew nothing: {ran.stderr[-500:]}")
    found: dict[str, object] = json.loads(html.unescape(written[1]))
    return found


def show(name: str, found: dict[str, object]) -> None:
    print(name)
    for what, milliseconds in found["found"]:
        print(f"  {what:<18} {milliseconds:6.0f} ms", flush=True)


if __name__ == "__main__":
    main()
