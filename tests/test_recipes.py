"""The recipes of docs/public-data.md run on small files of the published columns."""

import bz2
import csv
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from cs_keras.factors.interaction_files import read_first_times, read_interactions
from pipelines.dataset.ingest_items import read_items
from pipelines.training.attribute_files import read_attributes

PAGE = (Path(__file__).parents[1] / "docs" / "public-data.md").read_text(encoding="utf-8")


def run_recipe(name):
    (code,) = re.findall(rf"^```python\n# recipe: {name}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    exec(compile(code, f"recipe {name}", "exec"), {})


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def unsigned(values, bits=32):
    return pa.array(values, getattr(pa, f"uint{bits}")())


def read_tags():
    """Read the table as `run-baselines --labels` does: tags by track."""
    found = read_interactions("tags.csv", playlist_column="tag", track_column="track_id")
    pairs = found.user_items.nonzero()
    return {
        (str(found.track_ids[track]), str(found.playlist_ids[tag])) for tag, track in zip(*pairs, strict=True)
    }


def test_yambda():
    rng = np.random.default_rng(0)
    plays = np.repeat([10, 20, 30, 40], [25, 19, 40, 60])
    columns = {
        "uid": unsigned(rng.integers(5, size=len(plays)) * 10),
        "timestamp": unsigned(np.arange(len(plays)) * 5),
        "item_id": unsigned(plays),
        "is_organic": unsigned(np.ones(len(plays)), 8),
        "played_ratio_pct": unsigned(np.full(len(plays), 100), 16),
        "track_length_seconds": unsigned(np.full(len(plays), 200)),
    }
    pq.write_table(pa.table(columns), "listens.parquet", row_group_size=50)
    artists = {"artist_id": unsigned([7, 3, 9, 9, 5]), "item_id": unsigned([10, 10, 20, 30, 40])}
    pq.write_table(pa.table(artists), "artist_item_mapping.parquet")
    vectors = rng.normal(size=(4, 128))
    lists = pa.array(vectors.tolist(), pa.list_(pa.float64()))
    embeddings = {"item_id": unsigned([40, 30, 20, 10]), "embed": lists, "normalized_embed": lists}
    pq.write_table(pa.table(embeddings), "embeddings.parquet")

    run_recipe("yambda")
    items = read_items(Path("items.csv"))
    assert {item.track_id: item.artist for item in items} == {"10": "3", "30": "9", "40": "5"}
    table = read_attributes(Path("embeddings-used.parquet"))
    assert table.ids.tolist() == ["40", "30", "10"]
    np.testing.assert_allclose(table.columns["embed"].values, vectors[[0, 1, 3]], rtol=1e-6)  # float32
    found = read_interactions("listens.parquet")
    assert found.track_ids.tolist() == ["10", "20", "30", "40"]
    assert found.user_items.sum(axis=0).tolist() == [[25, 19, 40, 60]]
    assert read_first_times("listens.parquet") == {"10": 0, "20": 125, "30": 220, "40": 420}


def test_music4all_onion():
    counts = "user_id\ttrack_id\tcount\nuser_007XIjOr\t0009fFIM1eYThaPg\t3\nuser_1\t0010xmHR6UICBOYT\t1\n"
    Path("userid_trackid_count.tsv.bz2").write_bytes(bz2.compress(counts.encode()))
    names = [f"pcm_fftMag_spectralRollOff_quantile_{i}" for i in range(6373)]  # a header of 250 kB
    lines = ["\t".join(["id", *names])]
    lines += ["\t".join([item, *["0.25"] * len(names)]) for item in ("0009fFIM1eYThaPg", "0010xmHR6UICBOYT")]
    Path("id_compare.tsv.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    Path("id_information.csv").write_text(
        "\t".join(["id", "artist", "song", "album_name"])
        + "\n0009fFIM1eYThaPg\tCheryl\tRain, Rain\t3 Words\n"
    )

    found = read_interactions("userid_trackid_count.tsv.bz2")
    assert found.user_items.toarray().tolist() == [[3, 0], [0, 1]]
    table = read_attributes(Path("id_compare.tsv.bz2"))
    assert table.ids.tolist() == ["0009fFIM1eYThaPg", "0010xmHR6UICBOYT"]
    assert list(table.columns) == names
    run_recipe("onion")
    (item,) = read_items(Path("tracks.csv"))
    assert (item.track_id, item.artist, item.title) == ("0009fFIM1eYThaPg", "Cheryl", "Rain, Rain")


def test_million_playlist_dataset():
    Path("data").mkdir()
    for first in (0, 1000):
        tracks = [{"pos": i, "track_uri": f"spotify:track:{i}", "artist_name": "A"} for i in range(3)]
        playlists = [
            {"name": "musical", "collaborative": "false", "pid": first + i, "tracks": tracks[i:]}
            for i in (0, 1)
        ]
        text = json.dumps({"info": {"slice": f"{first}-{first + 999}"}, "playlists": playlists})
        Path(f"data/mpd.slice.{first}-{first + 999}.json").write_text(text)
    found = read_interactions("data")
    assert found.playlist_ids.tolist() == ["0", "1", "1000", "1001"]
    assert found.track_ids.tolist() == [f"spotify:track:{i}" for i in range(3)]
    assert found.user_items.toarray().tolist() == [[1, 1, 1], [0, 1, 1]] * 2


def test_jamendo():
    Path("autotagging.tsv").write_text(
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
        "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---punkrock\tmood/theme---fast\n"
        "track_0000215\tartist_000014\talbum_000031\t15/215.mp3\t151.4\tgenre---metal\tgenre---rock\n"
    )
    run_recipe("jamendo")
    with open("tracks.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["genres"] for row in rows] == ["punkrock", "metal|rock"]
    assert (rows[0]["path"], rows[0]["track_id"], rows[0]["artist"]) == (
        "14/214.mp3",
        "track_0000214",
        "artist_000014",
    )
    assert read_tags() == {
        ("track_0000214", "genre---punkrock"),
        ("track_0000214", "mood/theme---fast"),
        ("track_0000215", "genre---metal"),
        ("track_0000215", "genre---rock"),
    }


def test_fma():
    Path("fma_metadata").mkdir()
    Path("fma_metadata/tracks.csv").write_text(
        ",album,artist,set,set,track,track,track\n,title,name,split,subset,genre_top,genres_all,title\n"
        'track_id,,,,,,,\n2,AWOL,AWOL,training,small,Hip-Hop,"[21, 811]","Food, Food"\n'
        "10,Constant,Kurt Vile,training,full,Pop,[10],Freeway\n"
    )
    Path("fma_metadata/genres.csv").write_text(
        "genre_id,#tracks,parent,title,top_level\n"
        "10,13845,0,Pop,10\n21,8389,0,Hip-Hop,21\n811,1,21,Hip-Hop Beats,21\n"
    )
    run_recipe("fma")
    with open("tracks.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "path": "fma_small/000/000002.mp3",
        "track_id": "2",
        "artist": "AWOL",
        "album": "AWOL",
        "title": "Food, Food",
        "genres": "Hip-Hop",
    }
    assert read_tags() == {("2", "Hip-Hop"), ("2", "Hip-Hop Beats")}
