import csv
import io
import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from cs_keras.errors import DataError
from cs_keras.playlists.entries import Entry
from cs_keras.playlists.formats import neutralise, restore, to_csv, to_json, to_jspf, to_m3u8, to_xspf
from cs_keras.playlists.read import read_ids, read_m3u


def entry(path: Path, artist: str = "A", title: str = "T", duration_s: float = 12.6) -> Entry:
    return Entry("id", artist, title, duration_s=duration_s, path=path)


def test_m3u8_is_what_players_expect(tmp_path: Path) -> None:
    text = to_m3u8([entry(tmp_path / "music" / "a b.mp3"), entry(tmp_path / "c.mp3", duration_s=0)], tmp_path)
    assert text == "#EXTM3U\n#EXTINF:13,A - T\nmusic/a b.mp3\n#EXTINF:-1,A - T\nc.mp3\n"


@pytest.mark.parametrize("title", ["a\nhttp://evil/x.mp3", "a\r\n#EXTINF:1,b", "\x1b[2J", "\u2028x", "\x85x"])
def test_names_cannot_add_lines(title: str, tmp_path: Path) -> None:
    text = to_m3u8([entry(tmp_path / "x.mp3", artist=title, title=title)], tmp_path)
    assert len(text.splitlines()) == 3  # which also splits where only Unicode does
    assert re.fullmatch(r"#EXTM3U\n#EXTINF:13,[^\x00-\x1f\x7f-\x9f]*\nx\.mp3\n", text)


@pytest.mark.parametrize(
    "name",
    ["#hash.mp3", " space.mp3", "http:x.mp3", "a,b - c.mp3", "ünï.mp3", "%41.mp3", "日本.mp3", "e\u0301.mp3"],
)
def test_m3u8_plays_from_where_it_lies(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = tmp_path / "music" / name
    audio.parent.mkdir()
    audio.write_bytes(b"sound")
    monkeypatch.chdir(tmp_path)
    lists = tmp_path / "lists"
    lists.mkdir()
    for folder, given in ((lists, audio), (audio.parent, Path("music") / name), (Path("lists"), audio)):
        path = folder / "list.m3u8"
        path.write_bytes(to_m3u8([entry(given)], folder).encode())
        (line,) = (line for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
        assert not os.path.isabs(line) and os.path.samefile(folder / line, audio)
        (read,) = read_m3u(path)
        assert read.read_bytes() == b"sound"


@pytest.mark.parametrize("name", ["a\nb.mp3", "a\rb.mp3", os.fsdecode(b"\xff.mp3")])
def test_file_names_that_no_line_can_hold_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rename the file"):
        to_m3u8([entry(tmp_path / name)], tmp_path)


def test_an_entry_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'x' has no audio file"):
        to_m3u8([Entry("x")], tmp_path)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1", "\n=1", "\tx"])
def test_no_cell_is_a_formula(text: str) -> None:
    table = to_csv([Entry(text, text, text, text, text)], [{"score": -0.5, "factors": text}])
    (row,) = csv.DictReader(io.StringIO(table))
    for name in ("track_id", "artist", "title", "album", "isrc", "factors"):
        assert row[name].startswith("'"), name
    assert float(row["score"]) == -0.5


@pytest.mark.parametrize("text", ["plain", "=1+1", "-x", "'quoted", "it's", "＝1", ""])
def test_what_was_neutralised_is_read_as_it_was(text: str) -> None:
    assert restore(neutralise(text)) == text


def test_tables_and_documents_hold_all_that_is_known() -> None:
    given = Entry("i", 'A, "B"', "T;ü", "L", "C", 1.5)
    measures = {"score": 0.25, "factors": "predicted"}
    (row,) = csv.DictReader(io.StringIO(to_csv([given], [measures])))
    document = json.loads(to_json([given], [measures], {"title": "x"}))
    expected = {
        **{"rank": 1, "track_id": "i", "artist": 'A, "B"', "title": "T;ü", "album": "L", "isrc": "C"},
        **{"duration_s": 1.5, **measures},
    }
    assert row == {name: str(value) for name, value in expected.items()}
    assert document == {"title": "x", "tracks": [expected]}
    assert to_csv([], []).startswith("rank,track_id,")


def test_a_table_of_ours_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(to_csv([Entry("-1"), Entry("b,c")], [{}, {}]))
    assert read_ids(path) == ["-1", "b,c"]


# Of the specification, https://www.xspf.org/spec, section 4.1.1.2.14.1.1.1: each at most once here.
XSPF_TRACK = {"location", "identifier", "title", "creator", "album", "duration"}
XSPF = "{http://xspf.org/ns/0/}"


def test_xspf_is_as_specified_and_jspf_holds_the_same(tmp_path: Path) -> None:
    names = ["#1 <a> & b:c.mp3", "%41.mp3", "ünï.mp3", "a\nb.mp3", os.fsdecode(b"\xff.mp3"), "http:x?y.mp3"]
    given = [
        Entry("id", "A & <B>", f"T\x00{n}\ud800", "L", "US-S1Z-99-00001", 1.2345, tmp_path / "music" / name)
        for n, name in enumerate(names)
    ]
    given.append(Entry("only an id"))
    document = to_xspf(given, "Like <this> & that", tmp_path / "lists")
    playlist = ET.fromstring(document)
    assert document.startswith(b"<?xml version=") and document.decode("utf-8")
    assert playlist.tag == f"{XSPF}playlist" and playlist.attrib == {"version": "1"}
    assert [child.tag for child in playlist] == [f"{XSPF}title", f"{XSPF}trackList"]
    assert playlist.findtext(f"{XSPF}title") == "Like <this> & that"
    tracks = [{child.tag.removeprefix(XSPF): child.text for child in track} for track in playlist[1]]
    assert tracks.pop() == {"title": "only an id"}
    for n, (name, track) in enumerate(zip(names, tracks, strict=True)):
        assert set(track) == XSPF_TRACK
        location = track.pop("location")
        assert re.fullmatch(r"[!-~]+", location) and not urlsplit(location).scheme
        path = urlsplit(urljoin("file:///base/lists/list.xspf", location)).path
        assert os.fsencode(unquote(path, errors="surrogateescape")) == os.fsencode(f"/base/music/{name}")
        assert track == {
            "identifier": "urn:isrc:USS1Z9900001",
            "title": f"T {n}",
            "creator": "A & <B>",
            "album": "L",
            "duration": "1234",  # ms
        }
    jspf = json.loads(to_jspf(given, "Like <this> & that", tmp_path / "lists"))["playlist"]
    assert jspf["title"] == "Like <this> & that" and jspf["track"].pop() == {"title": "only an id"}
    for xml, track in zip(playlist[1], jspf["track"], strict=False):
        (location,), (identifier,) = track.pop("location"), track.pop("identifier")
        flat = {"location": location, "identifier": identifier, **{k: str(v) for k, v in track.items()}}
        assert flat == {child.tag.removeprefix(XSPF): child.text for child in xml}
