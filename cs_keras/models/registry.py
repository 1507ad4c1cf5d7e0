"""The registry of baselines, one line each: module, family, description, size, source and needs; no TensorFlow."""

import csv
import dataclasses
import difflib
import re
from pathlib import Path

from cs_keras.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the registry.

    Attributes
    ----------
    module
        Module in `cs_keras.models`.
    family
        Heading in tables of results.
    summary
        Short description.
    parameters
        Trainable parameters for 200 factors; of models of attributes, with a usual number of inputs.
    source
        Publication that it follows, or whose method sets it apart from the model that the description names:
        authors and year as on docs/systems.md. ``ours`` for variants of this project.
    needs
        Data about train tracks that it needs by default, in words.
    """

    module: str
    family: str
    summary: str
    parameters: int
    source: str
    needs: str = "audio"


_BAG_OF_TONES, _CONVOLUTIONAL, _TRANSFER = "Bag of Tones", "Convolutional networks", "Transferred networks"
_ARTISTS, _UNSUPERVISED, _RAW, _RECURRENT = (
    "Artists",
    "Unsupervised features",
    "Raw audio",
    "Recurrent networks",
)

REGISTRY = {
    "bot": Entry("bot", _BAG_OF_TONES, "MFCC codebook histograms, dense 1024 x 3", 6_401_224, "Pohl 2019"),
    "bot-wide": Entry(
        "bot", _BAG_OF_TONES, "MFCC codebook histograms, dense 2048 x 3", 16_996_552, "Pohl 2019"
    ),
    "bot-linear": Entry(
        "bot",
        _BAG_OF_TONES,
        "MFCC codebook histograms, ridge regression",
        800_200,
        "van den Oord et al. 2013",
    ),
    "mlr": Entry(
        "mlr",
        _BAG_OF_TONES,
        "MFCC codebook histograms, metric learning to rank",
        13_000,
        "van den Oord et al. 2013",
    ),
    "multiscale": Entry(
        "multiscale",
        _UNSUPERVISED,
        "k-means kernels on spectrograms of four windows",
        4_201_200,
        "Dieleman & Schrauwen 2013",
        "waveforms",
    ),
    "multiscale-gaussian": Entry(
        "multiscale",
        _UNSUPERVISED,
        "k-means kernels on a Gaussian pyramid",
        4_201_200,
        "Dieleman & Schrauwen 2013",
    ),
    "multiscale-laplacian": Entry(
        "multiscale",
        _UNSUPERVISED,
        "k-means kernels on a Laplacian pyramid",
        4_201_200,
        "Dieleman & Schrauwen 2013",
    ),
    "cnn": Entry("cnn", _CONVOLUTIONAL, "three convolutions 3x3 of 64, dense 512", 8_566_216, "Pohl 2019"),
    "cnn-bn": Entry("cnn", _CONVOLUTIONAL, "cnn with batch norm", 8_566_600, "Pohl 2019"),
    "cnn-bn-10": Entry("cnn", _CONVOLUTIONAL, "cnn-bn trained for 10 epochs", 8_566_600, "Pohl 2019"),
    "cnn-deep-dense": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with dense 512 x 3", 9_091_912, "Pohl 2019"),
    "cnn-wide-dense": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with dense 2048 x 3", 42_433_864, "Pohl 2019"),
    "cnn-deep-conv": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with five convolutions", 33_806_536, "Pohl 2019"),
    "cnn-freq": Entry(
        "cnn1d", _CONVOLUTIONAL, "1-D convolutions over mel bands, along time", 2_751_464, "Pohl 2019"
    ),
    "cnn-time": Entry(
        "cnn1d", _CONVOLUTIONAL, "1-D convolutions over frames, along frequency", 2_243_560, "Pohl 2019"
    ),
    "cnn-18s": Entry("cnn", _CONVOLUTIONAL, "five convolutions on 768 frames", 4_549_320, "Pohl 2019"),
    "cnn-60s": Entry(
        "cnn", _CONVOLUTIONAL, "five convolutions on 2,560 frames, dense 1024 x 3", 16_609_992, "Pohl 2019"
    ),
    "cnn-infonce": Entry(
        "cnn", _CONVOLUTIONAL, "cnn-best trained by InfoNCE with factors", 1_226_568, "Wei et al. 2021"
    ),
    "cnn-heteroscedastic": Entry(
        "cnn",
        _CONVOLUTIONAL,
        "cnn-best that predicts mean and variance of factors",
        1_329_168,
        "Nix & Weigend 1994",
    ),
    "cnn-best": Entry(
        "cnn", _CONVOLUTIONAL, "cnn-bn with temporal pooling and a cosine schedule", 1_226_568, "ours"
    ),
    "dieleman": Entry(
        "dieleman",
        _CONVOLUTIONAL,
        "temporal convolutions, global pooling, 599 frames",
        9_721_544,
        "Dieleman 2014",
    ),
    "dieleman-3s": Entry(
        "dieleman", _CONVOLUTIONAL, "dieleman on 128 frames", 9_721_544, "van den Oord et al. 2013"
    ),
    "dieleman-30s": Entry("dieleman", _CONVOLUTIONAL, "dieleman on 1,292 frames", 9_721_544, "Dieleman 2014"),
    "raw": Entry(
        "raw",
        _RAW,
        "strided convolution on waveforms, length 1024, stride 1024",
        205_580,
        "Dieleman & Schrauwen 2014",
        "waveforms",
    ),
    "raw-1024-512": Entry(
        "raw", _RAW, "raw with length 1024, stride 512", 218_380, "Dieleman & Schrauwen 2014", "waveforms"
    ),
    "raw-512-512": Entry(
        "raw", _RAW, "raw with length 512, stride 512", 152_844, "Dieleman & Schrauwen 2014", "waveforms"
    ),
    "raw-512-256": Entry(
        "raw", _RAW, "raw with length 512, stride 256", 178_444, "Dieleman & Schrauwen 2014", "waveforms"
    ),
    "raw-256-256": Entry(
        "raw", _RAW, "raw with length 256, stride 256", 145_676, "Dieleman & Schrauwen 2014", "waveforms"
    ),
    "raw-l2": Entry(
        "raw", _RAW, "raw with L2 pooling over filters", 599_180, "Dieleman & Schrauwen 2014", "waveforms"
    ),
    "raw-mel": Entry(
        "raw",
        _RAW,
        "the network of raw on mel spectrograms",
        74_380,
        "Dieleman & Schrauwen 2014",
        "waveforms",
    ),
    "lstm": Entry("lstm", _RECURRENT, "LSTM 64 x 3, dense 1024, 1024, 512", 18_571_082, "Pohl 2019"),
    "lstm-18s": Entry("lstm", _RECURRENT, "lstm on 768 frames", 52_125_514, "Pohl 2019"),
    "lstm-60s": Entry("lstm", _RECURRENT, "lstm on 2,560 frames", 169_566_026, "Pohl 2019"),
    "lstm-best": Entry("lstm", _RECURRENT, "lstm with temporal pooling on 128 frames", 1_924_938, "ours"),
    "xception": Entry("xception", _TRANSFER, "frozen Xception trained on ImageNet", 6_082_088, "Pohl 2019"),
    "xception-finetune": Entry("xception", _TRANSFER, "Xception fine-tuned", 18_486_680, "Pohl 2019"),
    "xception-random": Entry("xception", _TRANSFER, "Xception from random weights", 18_486_680, "Pohl 2019"),
    "choi": Entry("choi", _TRANSFER, "frozen music tagger of Choi et al. 2017", 3_775_434, "Pohl 2019"),
    "choi-finetune": Entry("choi", _TRANSFER, "the tagger fine-tuned", 3_812_746, "Pohl 2019"),
    "choi-60s": Entry("choi", _TRANSFER, "the tagger fine-tuned on 2,560 frames", 22_687_114, "Pohl 2019"),
    "choi-features": Entry(
        "choi_features", _TRANSFER, "160 features of the tagger, dense layers", 1_842_184, "Choi et al. 2017"
    ),
    "choi-best": Entry(
        "choi_features", _TRANSFER, "160 features of the tagger, ridge regression", 32_200, "ours"
    ),
    "musicnn": Entry(
        "musicnn", _TRANSFER, "200 features of musicnn (2019), ridge regression", 40_200, "Pons & Serra 2019"
    ),
    "musicnn-finetune": Entry(
        "musicnn", _TRANSFER, "musicnn fine-tuned, dense 512", 982_619, "Pons & Serra 2019"
    ),
    "triplet": Entry(
        "triplet", "Triplets", "embedding trained with triplet loss, dense layers", 10_216_648, "Pohl 2019"
    ),
    "triplet-best": Entry("triplet", "Triplets", "triplet with SpecAugment", 10_216_648, "ours"),
    "attributes": Entry(
        "attributes",
        "Attributes",
        "attributes of a table, dense 1024 x 2",
        1_665_224,
        "Nieto 2017",
        "attributes",
    ),
    "attributes-linear": Entry(
        "attributes", "Attributes", "attributes of a table, ridge regression", 80_200, "ours", "attributes"
    ),
    "attributes-gcv": Entry(
        "attributes",
        "Attributes",
        "attributes, ridge with a penalty for each factor",
        80_200,
        "Golub et al. 1979",
        "attributes",
    ),
    "attributes-kernel": Entry(
        "attributes",
        "Attributes",
        "attributes, kernel ridge regression",
        200,
        "Rifkin & Lippert 2007",
        "attributes",
    ),
    "attributes-best": Entry(
        "attributes",
        "Attributes",
        "quantiles of attributes, kernel ridge for overlap",
        200,
        "ours",
        "attributes",
    ),
    "attributes-trees": Entry(
        "attributes",
        "Attributes",
        "attributes, gradient-boosted trees",
        40_200,
        "Friedman 2001",
        "attributes",
    ),
    "attributes-mlp": Entry(
        "attributes",
        "Attributes",
        "attributes, dense layers with batch norm",
        1_669_320,
        "ours",
        "attributes",
    ),
    "attributes-infonce": Entry(
        "attributes",
        "Attributes",
        "attributes, InfoNCE with factors",
        1_665_224,
        "Wei et al. 2021",
        "attributes",
    ),
    "attributes-histories": Entry(
        "attributes",
        "Attributes",
        "attributes, InfoNCE with listeners' histories",
        1_665_224,
        "Salganik et al. 2024",
        "attributes",
    ),
    "attributes-bpr": Entry(
        "attributes",
        "Attributes",
        "attributes, Bayesian personalised ranking",
        1_665_224,
        "Rendle et al. 2009",
        "attributes",
    ),
    "attributes-softmax": Entry(
        "attributes",
        "Attributes",
        "attributes, sampled softmax over a playlist's tracks",
        1_665_224,
        "Yi et al. 2019",
        "attributes",
    ),
    "attributes-drlim": Entry(
        "attributes",
        "Attributes",
        "attributes, contrastive loss of pairs of tracks",
        1_665_224,
        "Hadsell et al. 2006",
        "attributes",
    ),
    "attributes-heteroscedastic": Entry(
        "attributes",
        "Attributes",
        "attributes, mean and variance of factors",
        1_870_224,
        "Nix & Weigend 1994",
        "attributes",
    ),
    "attributes-mixture": Entry(
        "attributes",
        "Attributes",
        "attributes, mixture of three normal distributions",
        2_693_299,
        "Bishop 1994",
        "attributes",
    ),
    "attributes-ials": Entry(
        "attributes",
        "Attributes",
        "attributes, factorisation with a prior from them",
        80_200,
        "Agarwal & Chen 2009",
        "attributes",
    ),
    "attributes-attention": Entry(
        "attributes",
        "Attributes",
        "frames of a table, attention over them",
        202_056,
        "Ilse et al. 2018",
        "attributes",
    ),
    "estimated-attributes": Entry(
        "estimated_attributes",
        "Attributes",
        "attributes estimated from audio",
        10_334_424,
        "Nieto 2017",
        "audio, attributes",
    ),
    "genre-space": Entry(
        "genre_space",
        "Genres",
        "genre classifier's probabilities, ridge regression",
        157_730,
        "Cardorelle 2018",
        "audio, genres",
    ),
    "genre-space-30s": Entry(
        "genre_space", "Genres", "genre-space on 1,292 frames", 157_730, "Cardorelle 2018", "audio, genres"
    ),
    "genre-label": Entry(
        "attributes", "Genres", "genres of the track table, dense 1024 x 2", 1_665_224, "ours", "genres"
    ),
    "genre-label-linear": Entry(
        "attributes", "Genres", "genres of the track table, ridge regression", 80_200, "ours", "genres"
    ),
    "artist-mean": Entry(
        "artist_mean",
        _ARTISTS,
        "mean of the artist's train tracks, shrunk by their number",
        201,
        "Robinson 1991",
        "artists",
    ),
    "artist-residual": Entry(
        "artist_residual",
        _ARTISTS,
        "artist mean of what another model leaves, and that model",
        605,
        "Robinson 1991",
        "attributes, artists",
    ),
    "artist-attention": Entry(
        "artist_attention",
        _ARTISTS,
        "attention over the artist's train tracks",
        133_404,
        "ACARec 2026",
        "attributes, artists",
    ),
    "fusion": Entry(
        "fusion",
        "Fusion",
        "late fusion of cnn-bn and attributes",
        628_424,
        "Oramas et al. 2017",
        "audio, attributes",
    ),
    "fusion-genres": Entry(
        "fusion",
        "Fusion",
        "late fusion of cnn-bn, attributes and genre-label",
        891_080,
        "Nieto 2017",
        "audio, attributes, genres",
    ),
    "fusion-estimated": Entry(
        "fusion",
        "Fusion",
        "late fusion of cnn-bn, estimated attributes and genres",
        891_080,
        "Nieto 2017",
        "audio, attributes, genres",
    ),
}


SECONDS_FILE = Path(__file__).with_name("seconds.csv")  # of `python -m benchmarks.models`


def read_seconds() -> dict[str, str]:
    """Return the seconds of training for 1,000 tracks on two CPU cores, by key.

    They are of an epoch over one sequence of each track or, with an asterisk, of the whole fit.
    """
    with SECONDS_FILE.open(encoding="utf-8", newline="") as file:
        return {row["key"]: row["seconds"] + "*" * (row["per"] == "fit") for row in csv.DictReader(file)}


TABLE_MARK = "@"
"""Between a baseline and the table of attributes that it takes: ``attributes-linear@musicnn``."""

TABLE_JOIN = "+"
"""Between tables that a baseline takes side by side: ``attributes-kernel@musicnn+notes``."""

_TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # a key of TOML, without the dot of ``--set``


def split_key(key: str) -> tuple[str, str]:
    """Split ``attributes-linear@musicnn`` into baseline and name of its table; "" for the one without a name."""
    baseline, _, table = key.partition(TABLE_MARK)
    return baseline, table


def split_tables(table: str) -> tuple[str, ...]:
    """Return the names of the tables that a key names after ``@``: ("",) for the one without a name."""
    return tuple(table.split(TABLE_JOIN))


def join_key(baseline: str, table: str) -> str:
    """Return the key of a baseline on the table of that name; see `split_key`."""
    return f"{baseline}{TABLE_MARK}{table}" if table else baseline


def is_table_name(name: str) -> bool:
    """Return whether a table of attributes can have this name."""
    return _TABLE_NAME.fullmatch(name) is not None


def check_key(key: str) -> None:
    """Raise ConfigError unless `key` names a baseline, and a table after ``@`` if it has one."""
    baseline, table = split_key(key)
    if baseline not in REGISTRY:
        close = difflib.get_close_matches(baseline, REGISTRY, n=1)
        listed = f"Models: {', '.join(REGISTRY)}."
        hint = f"Did you mean {close[0]!r}? `cs-keras models` lists all." if close else listed
        raise ConfigError(f"There is no model {baseline!r}. {hint}")
    names = split_tables(table)
    if TABLE_MARK in key and not (all(map(is_table_name, names)) and len({*names}) == len(names)):
        raise ConfigError(
            f"Expected the name of a table after {TABLE_MARK}, of letters, digits, - and _, or several names with "
            f"{TABLE_JOIN} between them, each once. Received: {key!r}."
        )
