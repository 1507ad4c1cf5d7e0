import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cs_keras.audio.settings import AudioConfig
from cs_keras.data.windows import SequenceConfig, prediction_windows, training_windows, usable_range
from cs_keras.errors import ConfigError

AUDIO = AudioConfig(sample_rate=4000, n_fft=16, hop_length=10)  # 400 frames a second

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=8)
seconds = st.one_of(st.just(0.0), st.floats(0, 2))
sequences = st.builds(SequenceConfig, st.integers(1, 100), seconds, seconds)


def rows_of(lengths):
    return np.arange(len(lengths)) * 10 + 3, np.array(lengths)


def each_track(windows, lengths, sequence):
    """Give length, first usable frame, usable frames and starts of each track's windows."""
    rows, n_frames = rows_of(lengths)
    first, usable = usable_range(n_frames, sequence, AUDIO)
    for i, row in enumerate(rows):
        yield int(n_frames[i]), int(first[i]), int(usable[i]), windows.start[windows.row == row]


@given(lengths, sequences)
def test_the_usable_part_lies_in_the_track_and_holds_a_sequence_where_the_track_does(lengths, sequence):
    n_frames = np.array(lengths)
    first, usable = usable_range(n_frames, sequence, AUDIO)
    assert (first >= 0).all() and (first + usable <= n_frames).all()
    assert (usable >= np.minimum(n_frames, sequence.frames)).all()


@given(lengths, sequences)
def test_skips_are_whole_where_there_is_room_for_them(lengths, sequence):
    n_frames = np.array(lengths)
    first, usable = usable_range(n_frames, sequence, AUDIO)
    start, end = 400 * sequence.skip_start_s, 400 * sequence.skip_end_s
    roomy = n_frames >= sequence.frames + start + end
    assert (first[roomy] == int(start)).all()
    assert (usable[roomy] == n_frames[roomy] - int(start) - int(end)).all()


def test_skips_shrink_in_proportion():
    # 100 frames to spare of the 400 wanted: a quarter of 300 at the start and of 100 at the end.
    first, usable = usable_range(np.array([150]), SequenceConfig(50, 0.75, 0.25), AUDIO)
    assert (first.tolist(), usable.tolist()) == ([75], [50])


def test_a_track_shorter_than_a_sequence_is_used_whole():
    first, usable = usable_range(np.array([49, 50]), SequenceConfig(50, 1.0, 1.0), AUDIO)
    assert (first.tolist(), usable.tolist()) == ([0, 0], [49, 50])


@given(lengths, sequences)
def test_prediction_windows_cover_every_usable_frame_and_no_other(lengths, sequence):
    windows = prediction_windows(*rows_of(lengths), sequence, AUDIO)
    for length, first, usable, starts in each_track(windows, lengths, sequence):
        covered = np.zeros(length + sequence.frames, int)
        for start in starts:
            covered[start : start + sequence.frames] += 1
        assert (covered[first : first + usable] >= 1).all()
        if usable >= sequence.frames:
            assert not covered[:first].any() and not covered[first + usable :].any()
        assert len(starts) == max(1, -(-usable // sequence.frames))


@given(lengths, sequences)
def test_prediction_windows_are_consecutive_and_only_the_last_one_overlaps(lengths, sequence):
    windows = prediction_windows(*rows_of(lengths), sequence, AUDIO)
    assert (np.diff(windows.row) >= 0).all()
    for _, first, _, starts in each_track(windows, lengths, sequence):
        assert starts[0] == first
        assert (np.diff(starts)[:-1] == sequence.frames).all()
        assert (np.diff(starts)[-1:] <= sequence.frames).all()


def test_prediction_windows_of_a_track_of_ten_frames():
    windows = prediction_windows(np.array([5, 2]), np.array([10, 3]), SequenceConfig(4), AUDIO)
    assert windows.row.tolist() == [5, 5, 5, 2]
    assert windows.start.tolist() == [0, 4, 6, 0]


@given(lengths, sequences, st.integers(0, 2**32))
def test_crops_lie_in_the_usable_part_and_are_as_many_as_fit(lengths, sequence, seed):
    windows = training_windows(*rows_of(lengths), sequence, AUDIO, np.random.default_rng(seed))
    for _, first, usable, starts in each_track(windows, lengths, sequence):
        assert len(starts) == max(1, usable // sequence.frames)
        assert (starts >= first).all()
        assert (starts + sequence.frames <= max(first + usable, first + sequence.frames)).all()
    assert len(windows) == sum(
        max(1, usable // sequence.frames) for _, _, usable, _ in each_track(windows, lengths, sequence)
    )


@given(lengths, sequences, st.integers(0, 2**32))
def test_the_same_generator_draws_the_same_crops(lengths, sequence, seed):
    one, two = (
        training_windows(*rows_of(lengths), sequence, AUDIO, np.random.default_rng(seed)) for _ in range(2)
    )
    assert np.array_equal(one.row, two.row) and np.array_equal(one.start, two.start)


def test_crops_start_at_every_frame_they_can_equally_often():
    n = 20_000
    windows = training_windows(
        np.zeros(n, int), np.full(n, 13), SequenceConfig(10), AUDIO, np.random.default_rng(0)
    )
    counts = np.bincount(windows.start)
    # Four starts, each Binomial(20,000, 1/4): a standard deviation of 61.
    assert len(counts) == 4 and np.abs(counts - n / 4).max() < 4 * 61


def test_crops_of_all_tracks_are_mixed():
    rows = np.arange(1000)
    windows = training_windows(rows, np.full(1000, 10), SequenceConfig(10), AUDIO, np.random.default_rng(0))
    assert sorted(windows.row) == rows.tolist()
    # Of a random order, neighbours are as often out of order as in it.
    assert 400 < (np.diff(windows.row) < 0).sum() < 600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "sequence.frames must be at least 1"),
        ({"skip_start_s": -1.0}, "sequence.skip_start_s must be 0"),
        ({"skip_end_s": float("nan")}, "sequence.skip_end_s must be 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SequenceConfig(**changes)
