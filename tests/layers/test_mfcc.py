import keras
import librosa
import numpy as np
import pytest

from cs_keras.layers.mfcc import mfcc

N_MELS = 40


def levels(n_tracks=2, n_frames=30):
    """Decibel mel frames, shape (n_tracks, n_frames, 40, 1)."""
    return np.random.default_rng(0).uniform(-80, 20, (n_tracks, n_frames, N_MELS, 1)).astype(np.float32)


def build(n_mfcc=13, deltas=2):
    mel_db = keras.Input((None, N_MELS, 1))
    return keras.Model(mel_db, mfcc(mel_db, n_mfcc, deltas))


def by_librosa(mel_db, n_mfcc, deltas):
    stages = [librosa.feature.mfcc(S=mel_db[:, :, 0].T.astype(np.float64), n_mfcc=n_mfcc)]
    for _ in range(deltas):
        stages.append(librosa.feature.delta(stages[-1], width=9, mode="mirror"))
    return np.concatenate(stages).T


@pytest.mark.parametrize("n_mfcc", [1, 13, 40])
@pytest.mark.parametrize("deltas", [0, 1, 2])
def test_it_equals_librosa(n_mfcc, deltas):
    mel_db = levels()
    output = build(n_mfcc, deltas).predict(mel_db, verbose=0)
    assert output.shape == (2, 30, n_mfcc * (1 + deltas)) and output.dtype == np.float32
    for track, frames in zip(mel_db, output, strict=True):
        # Sums of 40 levels of up to 80 dB in float32: 40 * 80 * 6e-8 is 2e-4.
        np.testing.assert_allclose(frames, by_librosa(track, n_mfcc, deltas), rtol=1e-5, atol=5e-4)


def test_the_shortest_track_that_can_be_mirrored_has_five_frames():
    mel_db = levels(n_frames=5)
    np.testing.assert_allclose(
        build()(mel_db)[0],
        by_librosa(mel_db[0], 13, 2),
        rtol=1e-5,
        atol=5e-4,  # as above
    )


def test_a_steady_sound_has_no_differences_and_a_rising_one_a_constant_first():
    rising = np.arange(30, dtype=np.float32)[None, :, None, None] * np.ones((1, 30, N_MELS, 1), np.float32)
    steady, ramp = (build(2)(x).numpy()[0] for x in (np.full_like(rising, -30), rising))
    assert np.abs(steady[:, 2:]).max() < 1e-4  # rounding of a first coefficient of 190
    # The orthonormal DCT of a constant over 40 bands is sqrt(40) times it; 8 frames at either end see the mirror.
    np.testing.assert_allclose(ramp[8:-8, 2], np.sqrt(N_MELS), rtol=1e-5)
    assert np.abs(ramp[8:-8, 4]).max() < 1e-4


def test_it_stays_float32_under_mixed_precision():
    expected = build()(levels())
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = build()
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed(levels()).dtype == "float32"
    np.testing.assert_array_equal(mixed(levels()), expected)


def test_it_survives_saving_loading_and_other_batch_sizes(tmp_path):
    model, mel_db = build(), levels()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(mel_db), model(mel_db))
    np.testing.assert_allclose(
        loaded(mel_db[:1]),
        model(mel_db)[:1],
        rtol=0,
        atol=1e-4,  # another order of the same float32 sums
    )
