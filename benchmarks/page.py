"""The map of a page at the size of the thesis's test set: the time to compute it, and its response times.

    python -m benchmarks.page [--n-tracks 11333] [--n-factors 200]

Factors are drawn around forty centres, names of tracks are generated. If Chromium is installed, it draws the map by
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
from cs_keras.run_files.predictions import Predictions
from reports.html.map import make_map, map_script
from reports.html.page import ASSETS, MAP_ASSET, PLOTLY, read_asset
from reports.html.spaces import Space

N_GENRES = 40
N_BY_ARTIST = 8
SCRIPTS = (ASSETS[1], PLOTLY, "map-1.js", "began.js", MAP_ASSET, "probe.js")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless=new", "--no-sandbox", "--window-size=1200,900", "--dump-dom")
DRAWING = {
    "WebGL": ("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    "SVG": ("--disable-3d-apis",),
}
PROBE = """
const plot = document.querySelector(".map-plot"), place = document.querySelector(".map"), found = [];
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
found.push(["first drawing", performance.now() - window.began]);
time("hover", () => Plotly.Fx.hover(plot, { xval: 0, yval: 0 }, "xy"));
time("click", () => plot.emit("plotly_click", { points: [{ customdata: 5 }] }));
const [select, search] = ["select", "input"].map((tag) => place.querySelector(tag));
for (const value of ["artist", "fold", "error", "genre"])
  time(`colour by ${value}`, () => { select.value = value; select.dispatchEvent(new Event("change")); });
time("search", () => { search.value = "title 77"; search.dispatchEvent(new Event("input")); });
time("zoom", () => Plotly.relayout(plot, { "xaxis.range": [-20, 20] }));
const text = JSON.stringify({ type: plot.data[0].type, found });
document.body.append(Object.assign(document.createElement("pre"), { id: "probe", textContent: text }));
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-tracks", type=int, default=11_333)
    parser.add_argument("--n-factors", type=int, default=200)
    arguments = parser.parse_args()
    space, predictions = make_space(arguments.n_tracks, arguments.n_factors)
    start, busy = time.perf_counter(), time.process_time()
    track_map = make_map("model", predictions, space, "cosine")
    took, busy = time.perf_counter() - start, time.process_time() - busy
    if track_map is None:
        raise SystemExit("These tracks are too few for a map.")
    script = map_script(track_map)
    print(
        f"map of {arguments.n_tracks:,} tracks, {arguments.n_factors} factors: {took:.0f} s, {busy:.0f} s of "
        f"processor time; {len(script) / 1e6:.1f} MB",
        flush=True,
    )
    if CHROMIUM is None:
        raise SystemExit("Chromium is not installed; nothing was drawn.")
    for name, options in DRAWING.items():
        with tempfile.TemporaryDirectory(prefix="cs-keras-page-") as folder:
            write(Path(folder), script)
            show(name, probe(Path(folder), options))


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


def write(folder: Path, script: str) -> None:
    """Write a page that consists of the map and the probe."""
    texts = {name: read_asset(name) for name in (*ASSETS, PLOTLY, MAP_ASSET)}
    texts |= {"map-1.js": script, "began.js": "window.began = performance.now();", "probe.js": PROBE}
    scripts = "".join(f'<script src="{name}" defer></script>' for name in SCRIPTS)
    style = f'<link rel="stylesheet" href="{ASSETS[0]}">'
    texts["index.html"] = (
        f'<!DOCTYPE html><meta charset="utf-8">{style}{scripts}<body><div class="map"></div></body>'
    )
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def probe(folder: Path, options: tuple[str, ...]) -> dict[str, object]:
    """Open the page in a browser and return the measurements of the probe."""
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *OPTIONS, *options, profile, (folder / "index.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    written = re.search(r'<pre id="probe">(.*?)</pre>', ran.stdout, re.DOTALL)
    if written is None:
        raise SystemExit(f"The browser drew nothing: {ran.stderr[-500:]}")
    found: dict[str, object] = json.loads(html.unescape(written[1]))
    return found


def show(name: str, found: dict[str, object]) -> None:
    print(f"{name} ({found['type']})")
    for what, milliseconds in found["found"]:
        print(f"  {what:<18} {milliseconds:6.0f} ms", flush=True)


if __name__ == "__main__":
    main()
