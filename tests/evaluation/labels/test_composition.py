import numpy as np
import pytest

from cs_keras.errors import ConfigError, DataError
from cs_keras.evaluation.labels.composition import map_genres, parse_composition, rank_by_composition

GENRES = ("ambient", "drum and bass", "techno")


@pytest.mark.parametrize(
    "text",
    [
        "60% ambient, 40% techno",
        "60 % Ambient,40 % TECHNO",
        "ambient=60,techno=40",
        "ambient = 60 %, techno = 40 %",
        "3 ambient, 2 techno",
    ],
)
def test_spellings_of_one_composition(text):
    np.testing.assert_allclose(parse_composition(text, GENRES), [0.6, 0, 0.4])


def test_names_of_several_words():
    np.testing.assert_allclose(parse_composition("100% drum and bass", GENRES), [0, 1, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ambient", "is written as"),
        ("60%, 40%", "is written as"),
        ("60% polka", "some of ambient, drum and bass, techno. Received: 'polka'"),
        ("60% ambient, 40% Ambient", "each genre once"),
        ("0% ambient", "shares above 0"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_composition(text, GENRES)


def test_the_nearest_tracks_are_those_of_a_full_sort(random):
    probabilities = random.dirichlet(np.ones(3), 50)
    probabilities[7] = probabilities[20]
    wanted = np.array([0.6, 0, 0.4])
    rows, distances = rank_by_composition(probabilities, wanted, 50)
    expected = sorted(range(50), key=lambda i: (sum((probabilities[i] - wanted) ** 2) ** 0.5, i))
    assert rows.tolist() == expected
    np.testing.assert_allclose(
        distances, [np.sqrt(((probabilities[i] - wanted) ** 2).sum()) for i in expected]
    )
    assert rank_by_composition(probabilities, wanted, 3)[0].tolist() == expected[:3]


def test_genres_are_renamed_and_others_stay():
    table = {"Chill": "ambient", "d'n'b": "Drum and bass"}
    labels = [["chill", "polka"], [], ["D'N'B"], ["techno"]]
    assert map_genres(labels, table, GENRES) == [["ambient", "polka"], [], ["Drum and bass"], ["techno"]]
    with pytest.raises(DataError, match="must be mapped to some of .* Received: 'house'"):
        map_genres(labels, {"chill": "house"}, GENRES)
