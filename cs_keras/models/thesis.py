"""Results that the reference thesis (Pohl 2019) reports for its models; needs no TensorFlow.

Its prose and its counts of trainable parameters do not always agree; where a structure has exactly the count that
was reported, the count decides, since it is what was run. `Reported.reading` explains each row.
"""

import dataclasses

N_FACTORS = 200  # of the models that were counted
KS = (10, 50, 100, 500)  # list lengths of the overlaps
N_TRACKS = 53_202
N_TEST_TRACKS = 11_333
MARGIN = 0.4  # of its triplet loss: also the loss of an embedding that is the same for every track
EMBEDDING_LOSSES = (0.6489, 0.6854)  # its triplet loss on validation and test tracks


@dataclasses.dataclass(frozen=True)
class Reported:
    """One model's row in the tables of chapter 6.

    Attributes
    ----------
    parameters
        Trainable parameters.
    validation_loss, test_loss
        Mean squared error on factors scaled to mean 0 and variance 1; None where not reported.
    matched
        Whether a structure was found with exactly the reported count.
    reading
        The structure, and the reason of a difference.
    offset
        Number of additional parameters of ours, for the reason that `reading` gives.
    similarity, dot_product
        Overlap in percent of lists of `KS` tracks between true and predicted factors, track to tracks and
        playlist to tracks; None where not reported.
    """

    parameters: int
    validation_loss: float | None
    test_loss: float | None
    matched: bool
    reading: str
    offset: int = 0
    similarity: tuple[float, ...] | None = None
    dot_product: tuple[float, ...] | None = None


_CUDNN = "the thesis's CuDNNLSTM has a second bias vector, 3 x 256 parameters"

THESIS = {
    "bot": Reported(
        *(6_401_224, 0.9603, 0.9598, True),
        "dense 1024 x 3, the text has two",
        similarity=(0.3784, 1.5497, 2.6008, 9.4746),
        dot_product=(1.2918, 4.8163, 7.4602, 16.3851),
    ),
    "bot-wide": Reported(16_996_552, 0.9599, 0.9572, True, "dense 2048 x 3"),
    "cnn": Reported(
        *(8_566_216, 1.0015, 0.9998, True),
        "as the text",
        similarity=(0.0192, 0.1529, 0.3241, 3.5417),
        dot_product=(0.0265, 0.3771, 0.8616, 4.3907),
    ),
    "cnn-bn": Reported(8_566_600, 0.9701, 0.9823, True, "as the text"),
    "cnn-bn-10": Reported(8_566_600, 0.9642, 0.9687, True, "as the text"),
    "cnn-deep-dense": Reported(9_091_912, 0.9685, 0.9792, True, "dense 512 x 3"),
    "cnn-wide-dense": Reported(
        *(42_433_864, 0.9639, 0.9827, True),
        "dense 2048 x 3",
        similarity=(0.0201, 0.1527, 0.3305, 3.5922),
        dot_product=(0.0268, 0.3274, 0.7691, 4.2088),
    ),
    "cnn-deep-conv": Reported(
        *(36_349_640, 0.9701, 0.9799, False),
        "no structure found; five convolutions, pooled after the first two only, come within 7 %",
    ),
    "cnn-freq": Reported(
        *(2_751_464, 1.1637, 1.1774, True),
        "3 x [1-D conv 32, kernel 4, batch norm], dense 1024, 1024, 512; by its count the kernels span the mel "
        "bands and move along time",
    ),
    "cnn-time": Reported(
        *(2_243_560, 1.0347, 0.9889, True),
        "3 x [1-D conv 32, kernel 4, batch norm], dense 1024, 1024, 512; by its count the kernels span the "
        "frames and move along frequency",
    ),
    "cnn-18s": Reported(
        *(4_549_320, 0.9553, 0.9457, True),
        "five convolutions, dense 1024",
        similarity=(0.9695, 0.3461, 0.6382, 2.8306),
        dot_product=(0.0285, 0.3159, 0.7646, 4.2257),
    ),
    "cnn-60s": Reported(16_609_992, 0.8984, 0.9545, True, "five convolutions, dense 1024 x 3"),
    "lstm": Reported(
        *(18_571_850, 0.9853, 0.9823, True),
        f"LSTM 64 x 3, the text has 64 and 128; {_CUDNN}",
        offset=-768,
    ),
    "lstm-18s": Reported(
        *(52_126_282, 0.9764, 0.9747, True),
        f"LSTM 64 x 3; {_CUDNN}",
        offset=-768,
        similarity=(0.2063, 0.4029, 1.0002, 4.0864),
        dot_product=(0.1023, 0.4192, 1.2307, 6.2639),
    ),
    "lstm-60s": Reported(169_566_794, 0.9423, 0.9487, True, f"LSTM 64 x 3; {_CUDNN}", offset=-768),
    "xception": Reported(
        *(6_082_088, 1.0996, 1.0987, True),
        "conv 32 with batch norm, dense 1024, 1024, 512; the text has two convolutions and dense 1024 x 2",
    ),
    "xception-finetune": Reported(
        *(18_486_680, 0.9954, 0.9930, True),
        "the same, with the 12,404,592 of Xception up to block11_sepconv3_bn",
    ),
    "xception-random": Reported(18_486_680, None, 0.9747, True, "the same, architecture only"),
    "choi": Reported(
        *(3_775_434, 0.9774, 0.9762, True),
        "five frozen convolutions, batch norm on the input and after four of them, dense 1024, 1024, 512",
    ),
    "choi-finetune": Reported(
        *(3_812_746, 0.9695, 0.9701, True), "the same, with the 37,312 of the convolutions"
    ),
    "choi-60s": Reported(
        *(22_687_114, 0.9498, 0.9427, True),
        "choi-finetune on 2,560 frames",
        similarity=(0.9702, 0.3496, 0.6356, 2.9107),
        dot_product=(0.0279, 0.3208, 0.7594, 4.2853),
    ),
    "triplet": Reported(
        8_408_320 + 2_071_240,
        *(0.7328, 0.7459, True),
        "embedding 8,408,320: 3 x conv 32, dense 128, and 768 as a batch norm of 384 has; regressor 2,071,240: "
        "dense 1024, 1024, 512 on 384, as many as anchor, positive and negative have, which the true factors "
        "chose; ours sees the track's own 128 alone: 768 and 262,144 fewer",
        offset=-768 - 262_144,
        similarity=(7.0035, 13.3401, 17.1463, 33.9973),
        dot_product=(48.5346, 53.8995, 55.2048, 52.8310),
    ),
}
