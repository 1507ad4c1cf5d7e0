import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from cs_keras import tfio
from cs_keras.audio.decode import decode, load_mono
from cs_keras.audio.settings import AudioConfig
from cs_keras.errors import AudioError, ConfigError
from tests.audio.sounds import noise, tone

LOSSLESS = {  # name: (suffix, format, subtype, largest rounding error, half a step of the quantiser or one)
    "wav 8 bit": ("wav", "WAV", "PCM_U8", 2**-7),
    "wav 16 bit": ("wav", "WAV", "PCM_16", 2**-15),
    "wav 24 bit": ("wav", "WAV", "PCM_24", 2**-23),
    "wav 32 bit": ("wav", "WAV", "PCM_32", 2**-24),
    "wav float": ("wav", "WAV", "FLOAT", 0),
    "wav extensible": ("wav", "WAVEX", "PCM_16", 2**-15),
    "flac 8 bit": ("flac", "FLAC", "PCM_S8", 2**-7),
    "flac 16 bit": ("flac", "FLAC", "PCM_16", 2**-15),
    "flac 24 bit": ("flac", "FLAC", "PCM_24", 2**-23),
    "aiff 16 bit": ("aiff", "AIFF", "PCM_16", 2**-15),
}
LOSSY = {
    "ogg vorbis": ("ogg", "OGG", "VORBIS"),
    "ogg opus": ("opus", "OGG", "OPUS"),
    "mp3": ("mp3", "MP3", "MPEG_LAYER_III"),
}


def write(path, samples, rate_hz=22050, **how):
    soundfile.write(path, samples, rate_hz, **how)
    return path


def stereo(rate_hz=22050):
    return np.stack([tone(440, rate_hz=rate_hz), tone(880, rate_hz=rate_hz, amplitude=0.25)], axis=1)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_give_back_their_samples(tmp_path, kind):
    suffix, file_format, subtype, tolerance = LOSSLESS[kind]
    path = write(tmp_path / f"a.{suffix}", stereo(), format=file_format, subtype=subtype)
    samples, rate_hz = decode(path)
    assert (rate_hz, samples.dtype) == (22050, np.float32)
    np.testing.assert_allclose(samples, stereo(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_files_give_back_their_tones(tmp_path, kind):
    suffix, file_format, subtype = LOSSY[kind]
    path = write(tmp_path / f"a.{suffix}", stereo(48000), 48000, format=file_format, subtype=subtype)
    samples, rate_hz = decode(path)
    assert rate_hz == 48000
    assert samples.shape == (48000, 2)
    # Coders place pure tones exactly, and keep their level to within a few per cent.
    middle = np.abs(np.fft.rfft(samples[12_000:36_000], axis=0)) / 12_000
    assert middle.argmax(axis=0).tolist() == [220, 440]
    np.testing.assert_allclose(middle.max(axis=0), [0.5, 0.25], rtol=0.05)


@pytest.mark.parametrize("n_channels", [1, 2, 6])
@pytest.mark.parametrize("rate_hz", [8000, 44100, 96000])
def test_any_rate_and_number_of_channels_is_decoded(tmp_path, n_channels, rate_hz):
    sound = noise(rate_hz // 2 * n_channels).reshape(-1, n_channels)
    path = write(tmp_path / "a.wav", sound, rate_hz, subtype="FLOAT")
    samples, rate = decode(path)
    assert rate == rate_hz
    assert np.array_equal(samples, sound)
    audio = AudioConfig()
    mono = load_mono(path, audio)
    assert mono.shape == (round(len(sound) * audio.sample_rate / rate_hz),)


def test_the_content_decides_and_not_the_suffix(tmp_path):
    path = write(tmp_path / "a.mp3", stereo(), format="FLAC")
    np.testing.assert_allclose(decode(path)[0], stereo(), rtol=0, atol=2**-15)  # one 16-bit step


def test_names_in_any_script_are_read(tmp_path):
    path = write(tmp_path / "Sigur Rós – ágætis 音楽 [1].flac", stereo())
    assert decode(path)[0].shape == stereo().shape


class TestMono:
    def test_a_file_at_the_right_rate_keeps_its_samples(self, tmp_path):
        path = write(tmp_path / "a.wav", tone(1000), subtype="FLOAT")
        assert np.array_equal(load_mono(path, AudioConfig()), tone(1000))

    def test_channels_are_averaged_and_their_sum_is_twice_that(self, tmp_path):
        path = write(tmp_path / "a.wav", stereo(), subtype="FLOAT")
        mean = load_mono(path, AudioConfig())
        assert np.array_equal(mean, stereo().mean(axis=1))
        assert np.array_equal(load_mono(path, AudioConfig(mixdown="sum")), 2 * mean)

    @pytest.mark.parametrize("rate_hz", [8000, 11025, 44100, 48000, 96000])
    def test_resampling_keeps_frequency_amplitude_and_length(self, tmp_path, rate_hz):
        path = write(tmp_path / "a.wav", tone(1000, 2.0, rate_hz), rate_hz, subtype="FLOAT")
        mono = load_mono(path, AudioConfig())
        assert len(mono) == 2 * 22050
        middle = mono[11025:33075]  # one second, away from the ends, where the filter runs out of samples
        spectrum = np.abs(np.fft.rfft(middle)) / 11025
        assert spectrum.argmax() == 1000
        # soxr's HQ is flat to within 0.01 dB in its pass band; -100 dB for all that is not the tone.
        assert spectrum[1000] == pytest.approx(0.5, rel=1e-3)
        assert np.delete(spectrum, 1000).max() < 0.5e-5

    def test_resampling_does_not_fold_what_lies_above_half_the_new_rate(self, tmp_path):
        path = write(
            tmp_path / "a.wav", tone(15_000, 1.0, 48000) + tone(500, 1.0, 48000), 48000, subtype="FLOAT"
        )
        middle = load_mono(path, AudioConfig())[2205:-2205]
        assert (
            np.abs(middle - tone(500)[2205:-2205]).max() < 1e-3
        )  # -54 dB of the 15 kHz tone, by a wide margin


class TestUnusable:
    """Every message is one sentence that names the file."""

    def refuse(self, path, message, decoder="auto", **settings):
        with pytest.raises(AudioError, match=message) as error:
            load_mono(path, AudioConfig(**settings), decoder)
        assert str(path) in str(error.value)

    def test_a_missing_file(self, tmp_path):
        self.refuse(tmp_path / "none.mp3", "There is no audio file")

    def test_a_folder(self, tmp_path):
        self.refuse(tmp_path, "There is no audio file")

    def test_an_empty_file(self, tmp_path):
        (tmp_path / "a.mp3").touch()
        self.refuse(tmp_path / "a.mp3", "is empty")

    @pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg", "m4a"])
    @pytest.mark.parametrize("content", [b"\0" * 5000, b"<html>not found</html>", bytes(range(1, 256)) * 40])
    def test_a_file_without_audio(self, tmp_path, suffix, content):
        (tmp_path / f"a.{suffix}").write_bytes(content)
        self.refuse(tmp_path / f"a.{suffix}", "cannot be decoded")

    @pytest.mark.parametrize("share", [0.98, 0.5, 0.2])
    @pytest.mark.parametrize(
        ("suffix", "subtype"), [("ogg", "VORBIS"), ("ogg", "OPUS"), ("mp3", None), ("flac", None)]
    )
    def test_a_cut_compressed_file(self, tmp_path, suffix, subtype, share):
        path = write(tmp_path / f"a.{suffix}", noise(48_000 * 6), 48_000, subtype=subtype)
        assert decode(path)[0].shape == (48_000 * 6, 1)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        self.refuse(path, "is truncated")

    @pytest.mark.parametrize("kind", ["wav 16 bit", "wav 24 bit", "wav extensible", "aiff 16 bit"])
    def test_a_cut_wav_or_aiff(self, tmp_path, kind):
        suffix, file_format, subtype, _ = LOSSLESS[kind]
        path = write(tmp_path / f"a.{suffix}", stereo(), format=file_format, subtype=subtype)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        self.refuse(path, "is truncated: it has 0.5 s of 1.0 s")

    def test_a_wav_with_unknown_length_is_read_whole(self, tmp_path):
        path = write(tmp_path / "a.wav", stereo(), subtype="PCM_16")
        content = bytearray(path.read_bytes())
        content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
        path.write_bytes(bytes(content))
        assert load_mono(path, AudioConfig()).shape == (22050,)

    def test_silence(self, tmp_path):
        self.refuse(write(tmp_path / "a.wav", np.zeros((22050, 2))), "is silent")

    def test_noise_below_80_db(self, tmp_path):
        path = write(tmp_path / "a.wav", tone(1000, amplitude=0.9e-4), subtype="FLOAT")
        self.refuse(path, "is silent: after mixing the channels, no sample exceeds -80 dBFS")
        assert len(load_mono(write(path, tone(1000, amplitude=1.1e-4), subtype="FLOAT"), AudioConfig()))

    @pytest.mark.parametrize("mixdown", ["mean", "sum"])
    def test_channels_that_cancel(self, tmp_path, mixdown):
        path = write(tmp_path / "a.wav", np.stack([tone(440), -tone(440)], axis=1), subtype="FLOAT")
        self.refuse(path, "is silent: after mixing the channels", mixdown=mixdown)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_not_finite(self, tmp_path, value):
        sound = tone(440)
        sound[100] = value
        self.refuse(write(tmp_path / "a.wav", sound, subtype="FLOAT"), "samples that are not finite")

    def test_a_rate_too_low_for_music(self, tmp_path):
        path = write(tmp_path / "a.wav", tone(100, 2.0, 1000), 1000)
        self.refuse(path, "has a sample rate of 1000 Hz; expected at least 4000 Hz")

    def test_no_samples_at_all(self, tmp_path):
        self.refuse(write(tmp_path / "a.wav", np.zeros((0, 2))), "is too short: 0.00 s")

    def test_one_sample_less_than_needed(self, tmp_path):
        needed = 1024 + 15 * 512  # sixteen frames
        path = write(tmp_path / "a.wav", noise(needed - 1))
        self.refuse(path, "is too short: 0.39 s, where 16 frames, 0.39 s, are needed")
        assert len(load_mono(write(path, noise(needed)), AudioConfig())) == needed

    def test_length_is_checked_after_resampling(self, tmp_path):
        self.refuse(write(tmp_path / "a.wav", noise(10_000), 44100), "too short: 0.23 s")

    @pytest.mark.parametrize("decoder", ["soundfile", "librosa"])
    def test_each_decoder_names_files_it_cannot_read(self, tmp_path, decoder):
        (tmp_path / "a.mp3").write_bytes(b"not audio")
        self.refuse(tmp_path / "a.mp3", "cannot be decoded", decoder=decoder)

    def test_an_unknown_decoder_lists_the_known_ones(self, tmp_path):
        with pytest.raises(ConfigError, match="one of auto, soundfile, tfio, librosa. Received: 'ffmpeg'"):
            load_mono(tmp_path / "a.mp3", AudioConfig(), "ffmpeg")


@pytest.mark.parametrize("damage", ["text", "hole"])
def test_libraries_print_nothing_about_damaged_files(tmp_path, damage, capfd):
    """libmpg123 does: it writes to descriptor 2, which `capfd` is, while Python's own messages take another way."""
    path = tmp_path / "x.mp3"
    soundfile.write(path, tone(440, 6, 22050), 22050)
    content = bytearray(path.read_bytes())
    path.write_bytes(b"a text " * 900 if damage == "text" else content[:2000] + bytes(4000) + content[6000:])
    with pytest.raises(AudioError, match="cannot be decoded"):
        decode(path)
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


@pytest.mark.slow
def test_damaged_files_in_several_threads_do_not_end_the_process(tmp_path):
    """tensorflow-io's operations crash there, in about half of such processes."""
    (tmp_path / "a.mp3").write_bytes(b"a text " * 1600)
    soundfile.write(tmp_path / "b.mp3", tone(440, 6, 22050), 22050)
    content = (tmp_path / "b.mp3").read_bytes()
    (tmp_path / "b.mp3").write_bytes(content[:2000] + bytes(4000) + content[6000:])
    code = (
        "import sys, pathlib, threading\n"
        "from cs_keras.audio.decode import decode\n"
        "from cs_keras.errors import AudioError\n"
        "def read(path):\n"
        "    try: decode(pathlib.Path(path))\n"
        "    except AudioError: print('refused')\n"
        "threads = [threading.Thread(target=read, args=[path]) for path in sys.argv[1:]]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    for _ in range(5):
        command = [sys.executable, "-c", code, tmp_path / "a.mp3", tmp_path / "b.mp3"]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "refused\n" * 2


def test_messages_of_the_command_line_do_not_take_the_descriptor_that_libraries_write_to():
    code = (
        "import os, sys, cs_keras.cli as cli; sys.argv[1:] = ['--version']\n"
        "try: cli.main()\n"
        "finally: os.close(2); print('seen', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "seen\n" and "version" in done.stdout


def test_without_tensorflow_io_its_decoder_says_how_to_install_it_and_others_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)  # its import fails
    monkeypatch.setattr(tfio, "available", tfio.available.__wrapped__)  # uncached
    path = write(tmp_path / "a.wav", tone(440))
    with pytest.raises(
        ConfigError, match=r"decoder tfio needs tensorflow-io.*pip install 'cs-keras\[tfio\]'"
    ):
        decode(path, "tfio")
    assert decode(path)[0].shape == (22050, 1)
    (tmp_path / "b.flac").write_bytes(b"not audio")
    with pytest.raises(AudioError, match="cannot be decoded"):
        decode(tmp_path / "b.flac")


def test_librosa_decodes_as_soundfile_does(tmp_path):
    path = write(tmp_path / "a.flac", stereo())
    (mine, rate), (theirs, their_rate) = decode(path, "soundfile"), decode(path, "librosa")
    assert rate == their_rate
    assert np.array_equal(mine, theirs)


def test_one_channel_decoded_by_librosa_has_two_dimensions(tmp_path):
    assert decode(write(tmp_path / "a.wav", tone(440)), "librosa")[0].shape == (22050, 1)


@pytest.mark.parametrize("quiet_half", ["first", "second"])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x10\0" + bytes(2048)])
def test_an_mp3_of_varying_bit_rate_without_a_length_is_read_to_its_end(tmp_path, quiet_half, tag):
    halves = [noise(5 * 44100), noise(5 * 44100) * 0]
    sound = np.concatenate(halves if quiet_half == "second" else halves[::-1])
    path = write(tmp_path / "a.mp3", sound, 44100, bitrate_mode="VARIABLE", compression_level=0.5)
    whole, _ = decode(path)
    content = path.read_bytes()
    second_frame = content.index(b"\xff\xfb", 4)
    assert b"Xing" in content[:second_frame]  # the frame that states the length
    path.write_bytes(tag + content[second_frame:])
    samples, rate_hz = decode(path)
    assert rate_hz == 44100
    # Without that frame, the coder's padding at either end is not removed: up to three frames of 1,152 samples.
    assert 0 <= len(samples) - len(whole) <= 3 * 1152
    loud = np.abs(samples[:, 0]) > 0.1
    assert loud[-len(loud) // 4 :].any() == (quiet_half == "first")
    assert loud.mean() == pytest.approx(0.4, abs=0.05)  # of uniform noise in half of the time, four fifths
