from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare, spearmanr

from cs_keras.data.demo.catalogue import DemoCatalogue, draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.interactions import _draw_without_replacement, draw_dislikes, draw_interactions
from cs_keras.data.demo.style import style_matrix
from cs_keras.data.folds import assign_folds
from cs_keras.errors import ConfigError

SMALL = DemoConfig.of_size(480, n_playlists=2500)


@pytest.fixture(scope="module")
def catalogue() -> DemoCatalogue:
    return draw_catalogue(SMALL)


def spread_within_playlists(catalogue: DemoCatalogue, config: DemoConfig, positions: np.ndarray) -> float:
    """Mean over playlists of the variance of their tracks, relative to that of all tracks."""
    playlists, tracks, _ = draw_interactions(catalogue, config)
    sizes = np.bincount(playlists)
    sums = np.zeros((len(sizes), positions.shape[1]))
    np.add.at(sums, playlists, positions[tracks])
    deviations = positions[tracks] - (sums / sizes[:, None])[playlists]
    return float(np.mean(deviations**2) / np.mean((positions - positions.mean(axis=0)) ** 2))


def test_catalogue_has_the_configured_sizes(catalogue: DemoCatalogue) -> None:
    assert len(set(catalogue.track_ids)) == 480 and len(set(catalogue.isrcs)) == 480
    assert len(set(catalogue.artists)) == 96 and len(set(catalogue.genres)) == 8
    pairs = set(zip(catalogue.artists, catalogue.genres, strict=True))
    assert len(pairs) == 96  # an artist keeps to one genre
    assert len(set(zip(catalogue.artists, catalogue.titles, strict=True))) == 480
    assert all(len(isrc) == 12 and isrc[:2] == "ZZ" and isrc[5:].isdigit() for isrc in catalogue.isrcs)
    assert catalogue.duration_s.min() >= 8 and catalogue.duration_s.max() <= 12


def test_the_default_demo_fills_lists_of_100_and_has_enough_test_artists() -> None:
    catalogue = draw_catalogue(DemoConfig())
    folds = np.array(assign_folds(catalogue.track_ids, catalogue.artists)[0])
    test_artists = np.array(catalogue.artists)[folds > 7]
    assert len(test_artists) >= 200 and len(set(test_artists)) >= 40


def test_other_sizes_keep_the_proportions() -> None:
    assert DemoConfig.of_size(DemoConfig.n_tracks) == DemoConfig()
    config = DemoConfig.of_size(2500, n_artists=400)
    assert (config.n_tracks, config.n_artists, config.n_playlists) == (2500, 400, 5000)


def test_social_side_is_independent_of_style(catalogue: DemoCatalogue) -> None:
    style = style_matrix(catalogue.styles)
    correlation = np.corrcoef(style.T, catalogue.social.T)[: style.shape[1], style.shape[1] :]
    # Of 48 correlations over 96 independent artists, standard error 0.1 each, the largest is rarely above 0.4.
    assert np.abs(correlation).max() < 0.4


def test_tracks_differ_within_a_genre(catalogue: DemoCatalogue) -> None:
    style, genres = style_matrix(catalogue.styles), np.array(catalogue.genres)
    within = np.mean([style[genres == genre].var(axis=0) for genre in set(catalogue.genres)], axis=0)
    assert (within / style.var(axis=0) > 0.3).all()


def test_playlists_have_the_configured_statistics(catalogue: DemoCatalogue) -> None:
    playlists, tracks, counts = draw_interactions(catalogue, SMALL)
    lengths = np.bincount(playlists)
    assert len(lengths) == 2500 and lengths.min() >= 5
    assert lengths.mean() == pytest.approx(25, abs=1)  # standard error 0.25
    pairs = playlists * 480 + tracks
    assert (np.diff(pairs) > 0).all()  # sorted, no track twice in a playlist
    assert counts.min() == 1


def test_tracks_of_a_playlist_are_close_to_its_taste(catalogue: DemoCatalogue) -> None:
    style, social = style_matrix(catalogue.styles), catalogue.social
    only_style, only_social = (replace(SMALL, audible_share=share) for share in (1.0, 0.0))
    assert spread_within_playlists(catalogue, only_style, style) < 0.7
    assert spread_within_playlists(catalogue, only_social, social) < 0.7
    # A playlist's own mean takes about 1 in 25 of the variance.
    assert spread_within_playlists(catalogue, only_style, social) == pytest.approx(0.95, abs=0.06)
    assert spread_within_playlists(catalogue, only_social, style) == pytest.approx(0.95, abs=0.06)


def test_disliked_tracks_are_popular_ones_far_from_what_the_playlist_has(catalogue: DemoCatalogue) -> None:
    playlists, tracks, _ = draw_interactions(catalogue, SMALL)
    disliking, disliked = draw_dislikes(catalogue, SMALL)
    played, unloved = (np.zeros((2500, 480), bool) for _ in range(2))
    played[playlists, tracks] = unloved[disliking, disliked] = True
    assert not (played & unloved).any() and len(disliked) == unloved.sum()
    # Whole playlists of half the catalogue do not occur: each has as many dislikes as tracks.
    np.testing.assert_array_equal(unloved.sum(axis=1), played.sum(axis=1))
    # The tracks' own mean, instead of the taste that they were drawn from.
    style, popularity = style_matrix(catalogue.styles), catalogue.popularity
    means = played @ style / played.sum(axis=1, keepdims=True)
    distance = ((means[:, None] - style) ** 2).mean(axis=2)
    assert distance[unloved].mean() > distance[played].mean() + distance.std()
    assert spearmanr(unloved.sum(axis=0), popularity).statistic > 0.5


def test_pure_chance_is_uniform(catalogue: DemoCatalogue) -> None:
    _, tracks, _ = draw_interactions(catalogue, replace(SMALL, chance_share=1.0))
    assert chisquare(np.bincount(tracks, minlength=480)).pvalue > 1e-3


def test_popularity_alone_orders_tracks(catalogue: DemoCatalogue) -> None:
    config = replace(SMALL, taste_sharpness=0.0, chance_share=0.0, popularity_exponent=1.0)
    _, tracks, _ = draw_interactions(catalogue, config)
    plays = np.bincount(tracks, minlength=480)
    assert spearmanr(plays, catalogue.popularity).statistic > 0.95


def test_draws_without_replacement_follow_the_probabilities() -> None:
    probability = np.tile([0.5, 0.3, 0.2, 0.0], (20_000, 1))
    chosen = _draw_without_replacement(probability, np.full(20_000, 2), np.random.default_rng(0))
    assert (chosen.sum(axis=1) == 2).all()
    # P(third among the first two) = .5·.2/.5 + .3·.2/.7 + .2; the tolerance is four standard errors.
    expected = 0.5 * 0.2 / 0.5 + 0.3 * 0.2 / 0.7 + 0.2
    assert chosen[:, 2].mean() == pytest.approx(expected, abs=0.015)
    assert not chosen[:, 3].any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_genres", 9),
        ("n_artists", 3),
        ("n_tracks", 95),
        ("n_tracks", 480.0),
        ("max_duration_s", 5.0),
        ("min_duration_s", float("nan")),
        ("audible_share", 1.1),
        ("chance_share", -0.1),
        ("mean_playlist_length", 300.0),
        ("sample_rate", 0),
        ("seed", -1),
    ],
)
def test_settings_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be .*Received: {value}|_duration_s must be"):
        replace(SMALL, **{name: value})
