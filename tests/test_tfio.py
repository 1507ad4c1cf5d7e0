import numpy as np
import pytest
import soundfile

from cs_keras import tfio
from cs_keras.audio import decode as decoding
from cs_keras.errors import AudioError
from tests.audio.sounds import tone

pytestmark = pytest.mark.skipif(not tfio.available(), reason="tensorflow-io does not load here")

FILES = {  # name: (suffix, subtype, tolerance)
    "wav 8 bit": ("wav", "PCM_U8", 0),
    "wav 16 bit": ("wav", "PCM_16", 0),
    "wav 24 bit": ("wav", "PCM_24", 0),
    "wav float": ("wav", "FLOAT", 0),
    "flac 8 bit": ("flac", "PCM_S8", 0),
    "flac 16 bit": ("flac", "PCM_16", 0),
    "flac 24 bit": ("flac", "PCM_24", 0),
    "ogg vorbis": ("ogg", "VORBIS", 1e-6),  # other builds of one decoder: float32 rounding
    "mp3": ("mp3", "MPEG_LAYER_III", 1e-4),  # another decoder; the format allows 2**-14 of full scale
}


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("kind", FILES)
def test_it_agrees_with_libsndfile(tmp_path, kind, n_channels):
    suffix, subtype, tolerance = FILES[kind]
    sound = np.stack([tone(440, rate_hz=44100), -0.9 * tone(660, rate_hz=44100)][:n_channels], axis=1)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound, 44100, subtype=subtype)
    samples, rate_hz = tfio.decode_audio(path)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert (rate_hz, samples.dtype, samples.shape) == (44100, np.float32, expected.shape)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_full_scale_is_one(tmp_path, subtype):
    sound = np.array([0.0, -1.0, 1.0, 0.5, -0.5] * 100, np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype=subtype)
    samples, _ = tfio.decode_audio(tmp_path / "a.wav")
    largest_step = {"PCM_U8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "FLOAT": 0}[subtype]
    np.testing.assert_allclose(samples[:, 0], sound, rtol=0, atol=largest_step)


def test_wav_of_32_bit_integers_is_refused_rather_than_read_as_floats(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(440), 8000, subtype="PCM_32")
    with pytest.raises(AudioError, match=r"a\.wav cannot be decoded by tensorflow-io"):
        tfio.decode_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_unreadable_files_are_named(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_bytes(b"not audio at all" * 100)
    with pytest.raises(AudioError, match=rf"a\.{suffix} cannot be decoded by tensorflow-io"):
        tfio.decode_audio(tmp_path / f"a.{suffix}")


def test_it_takes_over_where_libsndfile_cannot_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", tone(440), 22050)
    expected = decoding.decode(tmp_path / "a.flac")[0]

    def refuse(path):
        raise decoding._UnknownFormat

    monkeypatch.setitem(decoding._DECODERS, "soundfile", refuse)
    monkeypatch.setitem(decoding._DECODERS, "librosa", refuse)
    assert np.array_equal(decoding.decode(tmp_path / "a.flac")[0], expected)
