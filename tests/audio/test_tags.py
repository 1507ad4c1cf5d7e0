import mutagen
import pytest
import soundfile
from mutagen.id3 import TCON, TIT2, TPE1

from cs_keras.audio.tags import Tags, read_tags
from tests.audio.sounds import tone

WRITTEN = {
    "artist": "Sigur Rós",
    "title": "Starálfur",
    "album": "Ágætis byrjun",
    "isrc": "GBAJH9900077",
    "genre": ["Post-Rock", "Dream Pop"],
}


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg"])
def test_written_values_are_read_back(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(440, 2.0, 44100), 44100)
    file = mutagen.File(path, easy=True)
    if file.tags is None:
        file.add_tags()
    for name, value in WRITTEN.items():
        file[name] = value
    file.save()
    tags = read_tags(path)
    assert (tags.artist, tags.title, tags.album, tags.isrc) == tuple(list(WRITTEN.values())[:4])
    assert tags.genres == ("Post-Rock", "Dream Pop")
    assert tags.duration_s == pytest.approx(
        2.0, abs=0.1
    )  # an mp3's length is rounded up to its frames of 26 ms


def test_white_space_is_no_tag(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(440), 22050)
    file = mutagen.File(path, easy=True)
    file["artist"], file["genre"] = "  Low ", [" ", "Slowcore "]
    file.save()
    tags = read_tags(path)
    assert (tags.artist, tags.title, tags.genres) == ("Low", "", ("Slowcore",))


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "wav"])
def test_a_file_without_tags_gives_only_its_length(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(440, 2.0, 44100), 44100)
    tags = read_tags(path)
    assert (tags.artist, tags.title, tags.album, tags.isrc, tags.genres) == ("", "", "", "", ())
    assert tags.duration_s == pytest.approx(
        2.0, abs=0.1
    )  # an mp3's length is rounded up to its frames of 26 ms


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "wav", "txt"])
@pytest.mark.parametrize("content", [b"", b"not audio", b"\xff\xfb" * 200, b"fLaC", b"OggS", b"RIFF", b"ID3"])
def test_an_unreadable_file_gives_empty_tags(tmp_path, suffix, content):
    (tmp_path / f"a.{suffix}").write_bytes(content)
    tags = read_tags(tmp_path / f"a.{suffix}")
    assert (tags.artist, tags.title, tags.genres) == ("", "", ())


def test_a_missing_file_gives_empty_tags(tmp_path):
    assert read_tags(tmp_path / "none.mp3") == Tags()


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_id3_frames_of_uncompressed_files_are_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(440), 22050)
    file = mutagen.File(path)
    file.add_tags()
    for frame, text in ((TPE1, "Low"), (TIT2, "Words"), (TCON, "Slowcore")):
        file.tags.add(frame(text=[text]))
    file.save()
    tags = read_tags(path)
    assert (tags.artist, tags.title, tags.genres) == ("Low", "Words", ("Slowcore",))
