import mutagen
import pytest
import soundfile

from cs_keras.data.catalogue import (
    Recording,
    check_unique,
    describe_recordings,
    find_audio,
    read_catalogue,
)
from cs_keras.errors import DataError, StorageError
from tests.audio.sounds import tone


def table(folder, text, encoding="utf-8"):
    path = folder / "tracks.csv"
    path.write_bytes(text.encode(encoding))
    return path


def tagged(path, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(440), 22050)
    file = mutagen.File(path, easy=True)
    for name, value in tags.items():
        file[name] = value
    file.save()
    return path


class TestCatalogue:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_every_column_is_read_in_any_usual_dialect(self, tmp_path, delimiter, line_end, encoding):
        lines = [
            ["Path", " track_ID ", "artist", "title", "album", "isrc", "genres", "bpm"],
            ["a.mp3", "7", "Sigur Rós", '"Jóga, live; ""2"""', "音楽", "GB1", "Rock|Jazz ", "120"],
        ]
        text = line_end.join(delimiter.join(line) for line in lines) + line_end
        (recording,) = read_catalogue(table(tmp_path, text, encoding))
        assert recording == Recording(
            tmp_path / "a.mp3",
            "7",
            artist="Sigur Rós",
            title='Jóga, live; "2"',
            album="音楽",
            isrc="GB1",
            genres=("Rock", "Jazz"),
        )

    def test_only_a_path_is_required(self, tmp_path):
        (recording,) = read_catalogue(table(tmp_path, "path\nsub/a song.mp3\n"))
        assert recording == Recording(tmp_path / "sub" / "a song.mp3", "sub/a song", title="a song")

    def test_paths_are_relative_to_the_table_and_may_leave_its_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir("/")
        (tmp_path / "tables").mkdir()
        text = f"path,track_id\n../music/a.mp3,1\n{tmp_path}/b.mp3,2\n"
        first, second = read_catalogue(table(tmp_path / "tables", text))
        assert first.path == tmp_path / "music" / "a.mp3"
        assert second.path == tmp_path / "b.mp3"

    def test_empty_cells_are_filled_from_the_tags(self, tmp_path):
        tagged(tmp_path / "a.flac", artist="Low", title="Words", genre=["Slowcore"])
        (recording,) = read_catalogue(table(tmp_path, "path,artist,title,genres\na.flac,,Other,\n"))
        assert (recording.artist, recording.title, recording.genres) == ("Low", "Other", ("Slowcore",))
        assert recording.duration_s == pytest.approx(1.0)

    def test_genres_are_separated_by_bars_and_semicolons(self, tmp_path):
        (recording,) = read_catalogue(table(tmp_path, 'path,genres\na.mp3,"Hip Hop; R&B|Soul;;"\n'))
        assert recording.genres == ("Hip Hop", "R&B", "Soul")

    def test_empty_lines_are_ignored(self, tmp_path):
        assert len(read_catalogue(table(tmp_path, "\npath,artist\n\na.mp3,A\n , \nb.mp3,B\n\n"))) == 2

    def test_a_named_encoding_is_used(self, tmp_path):
        path = table(tmp_path, "path,artist\na.mp3,Björk\n", "latin-1")
        assert read_catalogue(path, "latin-1")[0].artist == "Björk"
        with pytest.raises(
            DataError, match=r"tracks\.csv is not utf-8-sig text; name its encoding, as in --enc"
        ):
            read_catalogue(path)
        with pytest.raises(DataError, match="is not klingon text"):
            read_catalogue(path, "klingon")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "is empty: expected a header with at least the column 'path'"),
            ("\n \n", "is empty"),
            ("path,artist\n", "lists no recordings: it has a header but no rows"),
            ("file,artist\na.mp3,A\n", "no column 'path'. Known columns: path.* Received: file, artist"),
            ("path,artist\na.mp3,A\nb.mp3\n", "line 3: 1 values; expected 2"),
            ("path,artist\na.mp3,A,x\n", "line 2: 3 values; expected 2"),
            ("path,artist\n,A\n", "line 2: the column 'path' is empty"),
            ("path,track_id\na.mp3,1\nb.mp3,1\n", "track_id '1' occurs twice"),
            ("path,track_id\na.mp3,1\na.mp3,2\n", "path '.*a.mp3' occurs twice"),
            ("path\na.mp3\na.flac\n", "track_id 'a' occurs twice"),
            (f"path\n{'x' * 200_000}\n", "line 2: field larger than field limit"),
        ],
    )
    def test_errors_name_the_line(self, tmp_path, text, message):
        with pytest.raises(DataError, match=rf"tracks\.csv.*{message}"):
            read_catalogue(table(tmp_path, text))

    def test_lines_are_counted_as_an_editor_does_though_cells_hold_line_breaks(self, tmp_path):
        with pytest.raises(DataError, match="line 4: 1 values"):
            read_catalogue(table(tmp_path, 'path,title\na.mp3,"two\nlines"\nb.mp3\n'))

    def test_a_missing_table(self, tmp_path):
        with pytest.raises(StorageError, match=r"Cannot read .*tracks\.csv: No such file"):
            read_catalogue(tmp_path / "tracks.csv")


class TestFindAudio:
    def test_folders_are_searched_and_ids_are_relative_to_them(self, tmp_path):
        for name in ("b/2.MP3", "b/1.flac", "a.ogg", "notes.txt", "cover.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.mp3").mkdir()
        assert find_audio([tmp_path]) == [
            (tmp_path / "a.ogg", "a"),
            (tmp_path / "b" / "1.flac", "b/1"),
            (tmp_path / "b" / "2.MP3", "b/2"),
        ]

    def test_files_are_taken_as_named_by_their_own_name(self, tmp_path):
        (tmp_path / "song.v2.mp3").touch()
        assert find_audio([tmp_path / "song.v2.mp3"]) == [(tmp_path / "song.v2.mp3", "song.v2")]

    def test_a_missing_path(self, tmp_path):
        with pytest.raises(StorageError, match="There is no file or folder .*none"):
            find_audio([tmp_path / "none"])

    def test_a_folder_without_audio(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(
            StorageError, match=r"There is no audio in .*: expected files ending in \.mp3, \.ogg"
        ):
            find_audio([tmp_path])


def test_recordings_are_described_by_their_tags_or_their_names(tmp_path):
    tagged(tmp_path / "a.flac", artist="Low", title="Words", album="I Could Live in Hope", isrc="US1")
    (tmp_path / "b.mp3").write_bytes(b"no audio")
    first, second = describe_recordings([(tmp_path / "a.flac", "Other/x/a"), (tmp_path / "b.mp3", "b")])
    described = {"artist": "Low", "title": "Words", "album": "I Could Live in Hope", "isrc": "US1"}
    assert first == Recording(tmp_path / "a.flac", "Other/x/a", **described, duration_s=1.0)
    assert second == Recording(tmp_path / "b.mp3", "b", title="b")


@pytest.mark.parametrize(
    ("name", "artist"),
    [
        ("Low/Hope/01 Words", "Low"),
        ("music/Low/Hope/CD 1/01 Words", "Low"),
        ("Low/Hope/Words - Live", "Low"),
        ("Low/Words", "Low"),
        ("Rock/Low - Words", "Low"),
        ("Low - Hope/03. Words", "Low"),
        ("Various Artists/Hits/07 - Low - Words", "Low"),
        ("01 - Low - Words", "Low"),
        ("50 Cent - In da Club", "50 Cent"),
        ("Various Artists/Hits/07 Words", ""),
        ("01 - Words", ""),
        ("000/000002", ""),
        ("words-live", ""),
    ],
)
def test_an_artist_that_tags_lack_is_read_from_the_path_below_the_folder(tmp_path, name, artist):
    (recording,) = describe_recordings([(tmp_path / "a.mp3", name)])
    assert (recording.artist, recording.artist_from_folder) == (artist, bool(artist))


def test_two_recordings_may_not_share_an_id_or_a_file(tmp_path):
    a, b = Recording(tmp_path / "a", "1"), Recording(tmp_path / "b", "2")
    check_unique([a, b], "Here")
    with pytest.raises(DataError, match="Here: track_id '1' occurs twice"):
        check_unique([a, Recording(tmp_path / "b", "1")], "Here")
    with pytest.raises(DataError, match="Here: path '.*a' occurs twice"):
        check_unique([a, Recording(tmp_path / "a", "2")], "Here")
