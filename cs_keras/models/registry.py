"""The registry of baselines, one line each: module, family in tables of results, description; no TensorFlow."""

import dataclasses
import difflib
import re

from cs_keras.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the registry: module in `cs_keras.models`, family in tables of results, and a short description."""

    module: str
    family: str
    summary: str


_BAG_OF_TONES, _CONVOLUTIONAL, _TRANSFER = "Bag of Tones", "Convolutional networks", "Transferred networks"
_ARTISTS, _UNSUPERVISED, _RAW, _RECURRENT = (
    "Artists",
    "Unsupervised features",
    "Raw audio",
    "Recurrent networks",
)

REGISTRY = {
    "bot": Entry("bot", _BAG_OF_TONES, "MFCC codebook histograms, dense 1024 x 3"),
    "bot-wide": Entry("bot", _BAG_OF_TONES, "MFCC codebook histograms, dense 2048 x 3"),
    "bot-linear": Entry("bot", _BAG_OF_TONES, "MFCC codebook histograms, ridge regression"),
    "mlr": Entry("mlr", _BAG_OF_TONES, "MFCC codebook histograms, metric learning to rank"),
    "multiscale": Entry("multiscale", _UNSUPERVISED, "k-means kernels on spectrograms of four windows"),
    "multiscale-gaussian": Entry("multiscale", _UNSUPERVISED, "k-means kernels on a Gaussian pyramid"),
    "multiscale-laplacian": Entry("multiscale", _UNSUPERVISED, "k-means kernels on a Laplacian pyramid"),
    "cnn": Entry("cnn", _CONVOLUTIONAL, "three convolutions 3x3 of 64, dense 512"),
    "cnn-bn": Entry("cnn", _CONVOLUTIONAL, "cnn with batch norm"),
    "cnn-bn-10": Entry("cnn", _CONVOLUTIONAL, "cnn-bn trained for 10 epochs"),
    "cnn-deep-dense": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with dense 512 x 3"),
    "cnn-wide-dense": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with dense 2048 x 3"),
    "cnn-deep-conv": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with five convolutions"),
    "cnn-freq": Entry("cnn1d", _CONVOLUTIONAL, "1-D convolutions over mel bands, along time"),
    "cnn-time": Entry("cnn1d", _CONVOLUTIONAL, "1-D convolutions over frames, along frequency"),
    "cnn-18s": Entry("cnn", _CONVOLUTIONAL, "five convolutions on 768 frames"),
    "cnn-60s": Entry("cnn", _CONVOLUTIONAL, "five convolutions on 2,560 frames, dense 1024 x 3"),
    "cnn-infonce": Entry("cnn", _CONVOLUTIONAL, "cnn-best trained by InfoNCE with factors"),
    "cnn-best": Entry("cnn", _CONVOLUTIONAL, "cnn-bn with temporal pooling and a cosine schedule"),
    "dieleman": Entry("dieleman", _CONVOLUTIONAL, "temporal convolutions, global pooling, 599 frames"),
    "dieleman-3s": Entry("dieleman", _CONVOLUTIONAL, "dieleman on 128 frames"),
    "dieleman-30s": Entry("dieleman", _CONVOLUTIONAL, "dieleman on 1,292 frames"),
    "raw": Entry("raw", _RAW, "strided convolution on waveforms, length 1024, stride 1024"),
    "raw-1024-512": Entry("raw", _RAW, "raw with length 1024, stride 512"),
    "raw-512-512": Entry("raw", _RAW, "raw with length 512, stride 512"),
    "raw-512-256": Entry("raw", _RAW, "raw with length 512, stride 256"),
    "raw-256-256": Entry("raw", _RAW, "raw with length 256, stride 256"),
    "raw-l2": Entry("raw", _RAW, "raw with L2 pooling over filters"),
    "raw-mel": Entry("raw", _RAW, "the network of raw on mel spectrograms"),
    "lstm": Entry("lstm", _RECURRENT, "LSTM 64 x 3, dense 1024, 1024, 512"),
    "lstm-18s": Entry("lstm", _RECURRENT, "lstm on 768 frames"),
    "lstm-60s": Entry("lstm", _RECURRENT, "lstm on 2,560 frames"),
    "lstm-best": Entry("lstm", _RECURRENT, "lstm with temporal pooling on 128 frames"),
    "xception": Entry("xception", _TRANSFER, "frozen Xception trained on ImageNet"),
    "xception-finetune": Entry("xception", _TRANSFER, "Xception fine-tuned"),
    "xception-random": Entry("xception", _TRANSFER, "Xception from random weights"),
    "choi": Entry("choi", _TRANSFER, "frozen music tagger of Choi et al. 2017"),
    "choi-finetune": Entry("choi", _TRANSFER, "the tagger fine-tuned"),
    "choi-60s": Entry("choi", _TRANSFER, "the tagger fine-tuned on 2,560 frames"),
    "choi-features": Entry("choi_features", _TRANSFER, "160 features of the tagger, dense layers"),
    "choi-best": Entry("choi_features", _TRANSFER, "160 features of the tagger, ridge regression"),
    "musicnn": Entry("musicnn", _TRANSFER, "200 features of musicnn (2019), ridge regression"),
    "musicnn-finetune": Entry("musicnn", _TRANSFER, "musicnn fine-tuned, dense 512"),
    "triplet": Entry("triplet", "Triplets", "embedding trained with triplet loss, dense layers"),
    "triplet-best": Entry("triplet", "Triplets", "triplet with SpecAugment"),
    "attributes": Entry("attributes", "Attributes", "attributes of a table, dense 1024 x 2"),
    "attributes-linear": Entry("attributes", "Attributes", "attributes of a table, ridge regression"),
    "attributes-gcv": Entry("attributes", "Attributes", "attributes, ridge with a penalty for each factor"),
    "attributes-kernel": Entry("attributes", "Attributes", "attributes, kernel ridge regression"),
    "attributes-trees": Entry("attributes", "Attributes", "attributes, gradient-boosted trees"),
    "attributes-mlp": Entry("attributes", "Attributes", "attributes, dense layers with batch norm"),
    "attributes-infonce": Entry("attributes", "Attributes", "attributes, InfoNCE with factors"),
    "attributes-histories": Entry(
        "attributes", "Attributes", "attributes, InfoNCE with listeners' histories"
    ),
    "attributes-bpr": Entry("attributes", "Attributes", "attributes, Bayesian personalised ranking"),
    "attributes-softmax": Entry(
        "attributes", "Attributes", "attributes, sampled softmax over a playlist's tracks"
    ),
    "attributes-drlim": Entry("attributes", "Attributes", "attributes, contrastive loss of pairs of tracks"),
    "attributes-ials": Entry("attributes", "Attributes", "attributes, factorisation with a prior from them"),
    "attributes-attention": Entry("attributes", "Attributes", "frames of a table, attention over them"),
    "estimated-attributes": Entry("estimated_attributes", "Attributes", "attributes estimated from audio"),
    "genre-space": Entry("genre_space", "Genres", "genre classifier's probabilities, ridge regression"),
    "genre-space-30s": Entry("genre_space", "Genres", "genre-space on 1,292 frames"),
    "genre-label": Entry("attributes", "Genres", "genres of the track table, dense 1024 x 2"),
    "genre-label-linear": Entry("attributes", "Genres", "genres of the track table, ridge regression"),
    "artist-mean": Entry(
        "artist_mean", _ARTISTS, "mean of the artist's train tracks, shrunk by their number"
    ),
    "artist-residual": Entry(
        "artist_residual", _ARTISTS, "artist mean of what another model leaves, and that model"
    ),
    "artist-attention": Entry("artist_attention", _ARTISTS, "attention over the artist's train tracks"),
    "fusion": Entry("fusion", "Fusion", "late fusion of cnn-bn and attributes"),
    "fusion-genres": Entry("fusion", "Fusion", "late fusion of cnn-bn, attributes and genre-label"),
    "fusion-estimated": Entry("fusion", "Fusion", "late fusion of cnn-bn, estimated attributes and genres"),
}


TABLE_MARK = "@"
"""Between a baseline and the table of attributes that it takes: ``attributes-linear@musicnn``."""

_TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # a key of TOML, without the dot of ``--set``


def split_key(key: str) -> tuple[str, str]:
    """Split ``attributes-linear@musicnn`` into baseline and name of its table; "" for the one without a name."""
    baseline, _, table = key.partition(TABLE_MARK)
    return baseline, table


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
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"There is no model {baseline!r}.{hint} Models: {', '.join(REGISTRY)}.")
    if TABLE_MARK in key and not is_table_name(table):
        raise ConfigError(
            f"Expected the name of a table after {TABLE_MARK}, of letters, digits, - and _. Received: {key!r}."
        )
