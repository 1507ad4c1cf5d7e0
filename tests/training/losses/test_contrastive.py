import numpy as np
import pytest

from cs_keras.factors.scaling import fit_scaler
from cs_keras.training.losses.contrastive import drlim, info_nce
from tests.training.losses.gradients import SCALER, draw, minimise, numeric_slope, unit, value_and_slope

N_TRACKS, N_FACTORS = 7, 3
ORDER = [5, 0, 2, 2, 6]  # two sequences of one track


@pytest.mark.parametrize("prior", [None, np.linspace(-1, 2, N_TRACKS)])
def test_info_nce_is_the_cross_entropy_among_the_other_tracks_of_the_batch(prior):
    reference, predicted = draw(N_TRACKS, N_FACTORS), draw(len(ORDER), N_FACTORS, seed=1)

    def by_hand(factors):
        losses = np.zeros(len(ORDER))
        for i, track in enumerate(ORDER):
            candidates = [track, *(other for other in ORDER if other != track)]
            logits = unit(factors[i]) @ unit(reference[candidates].astype(float)).T / 0.3
            logits -= 0 if prior is None else prior[candidates]
            losses[i] = np.log(np.exp(logits).sum()) - logits[0]
        return losses

    found, slope = value_and_slope(info_nce(reference, SCALER, 0.3, prior), ORDER, predicted)
    np.testing.assert_allclose(found, by_hand(predicted.astype(float)), rtol=1e-4)  # float32, scaled twice
    np.testing.assert_allclose(slope, numeric_slope(by_hand, predicted.astype(float)), rtol=1e-3, atol=1e-5)


def test_info_nce_learns_how_much_likelier_a_track_is_for_its_audio_and_with_the_correction_how_likely():
    """Of four tracks two sound alike, of which one is played three times as often; no cosine is at its bound."""
    sound = np.array([0, 0, 1, 2])
    popularity = np.array([3.0, 1.0, 1.0, 1.0])
    reference = np.eye(4, dtype=np.float32)
    plain = fit_scaler("none", reference)
    for share, expected in ((0.0, 1.0), (1.0, 3.0)):
        loss = info_nce(reference, plain, 0.05, (share * np.log(popularity)).astype(np.float32))
        found = unit(minimise(loss, np.full((3, 4), 0.1, np.float32), sound))[0]
        odds = np.exp((found @ (reference[0] - reference[1])) / 0.05)
        assert odds == pytest.approx(expected, rel=0.02)


def test_drlim_attracts_similar_tracks_and_repels_others_within_the_margin():
    reference, predicted = draw(N_TRACKS, N_FACTORS), draw(len(ORDER), N_FACTORS, seed=1)
    similar = np.stack(
        [np.arange(N_TRACKS), (np.arange(N_TRACKS) + 1) % N_TRACKS], axis=1
    )  # itself, the next

    def by_hand(factors):
        losses = np.zeros(len(ORDER))
        for i, track in enumerate(ORDER):
            distances = np.linalg.norm(unit(factors[i]) - unit(reference.astype(float)), axis=1)
            far = [other for other in ORDER if other not in similar[track]]
            losses[i] = (distances[similar[track]] ** 2 / 2).mean()
            losses[i] += (np.maximum(0, 1.3 - distances[far]) ** 2 / 2).mean()
        return losses

    found, slope = value_and_slope(drlim(reference, SCALER, similar, 1.3), ORDER, predicted)
    np.testing.assert_allclose(found, by_hand(predicted.astype(float)), rtol=1e-4)  # float32, scaled twice
    np.testing.assert_allclose(slope, numeric_slope(by_hand, predicted.astype(float)), rtol=1e-3, atol=1e-5)
