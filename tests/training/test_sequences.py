import keras
import numpy as np
import pytest

from cs_keras.data.dataset import Dataset
from cs_keras.data.windows import SequenceConfig, Windows
from cs_keras.errors import StorageError
from cs_keras.training import sequences
from cs_keras.training.predict import predict_tracks
from cs_keras.training.sequences import SequenceBatches, compute_sequences, predict_from_sequences
from tests.data.small import write_small

LENGTHS = [9, 17, 4, 2, 12]
ROWS = np.array([0, 1, 3, 4])
SEQUENCE = SequenceConfig(frames=4)
COUNTS = [3, 5, 1, 3]  # windows that cover each of ROWS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return Dataset(write_small(tmp_path_factory.mktemp("dataset"), LENGTHS))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = keras.Input((4, 9))
    return keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


@pytest.fixture(autouse=True)
def single_tracks(monkeypatch):
    """Blocks of one track."""
    monkeypatch.setattr(sequences, "BLOCK_TRACKS", 1)


def compute(model, dataset, path, **options):
    return compute_sequences(model, dataset, ROWS, SEQUENCE, 2, path, **options)


def test_each_sequence_is_that_of_prediction(dataset, model, tmp_path):
    reported = []
    found = compute(model, dataset, tmp_path / "a.f32", on_batch=reported.append)
    assert found.row.tolist() == np.repeat(ROWS, COUNTS).tolist()
    assert found.values.shape == (12, 3) and found.values.dtype == np.float32
    windows = dataset.read_windows(Windows(np.zeros(3, int), np.array([0, 4, 5])), 4).astype(np.float32)
    np.testing.assert_allclose(found.values[:3], model(windows), rtol=1e-5)  # float32 sums of 36
    assert sum(reported) == 12
    assert found.of_tracks(np.array([4, 0])).tolist() == [0, 1, 2, 9, 10, 11]


@pytest.mark.parametrize("cut", [0, 5, 12, 36 + 60 + 11, 12 * 12])
def test_what_a_kill_left_is_gone_on_with(dataset, model, tmp_path, cut):
    whole = compute(model, dataset, tmp_path / "whole.f32")
    content = (tmp_path / "whole.f32").read_bytes()
    (tmp_path / "cut.f32.partial").write_bytes(content[:cut])
    reported = []
    again = compute(model, dataset, tmp_path / "cut.f32", on_batch=reported.append)
    assert (tmp_path / "cut.f32").read_bytes() == content
    assert np.array_equal(again.values, whole.values) and sum(reported) == 12
    finished = [end for end in np.cumsum([0, *COUNTS]) if end * 12 <= cut][-1]
    assert reported[0] == finished, "whole blocks are not computed again"
    assert not list(tmp_path.glob("*.partial"))


def test_what_is_there_is_not_computed_again(dataset, tmp_path, model):
    first = compute(model, dataset, tmp_path / "a.f32")
    other = keras.models.clone_model(model)
    assert np.array_equal(compute(other, dataset, tmp_path / "a.f32").values, first.values)


def test_a_file_of_another_size_is_one_sentence(dataset, model, tmp_path):
    (tmp_path / "a.f32").write_bytes(b"1234")
    with pytest.raises(StorageError, match="a.f32 does not hold 12 sequences; delete it"):
        compute(model, dataset, tmp_path / "a.f32")


def test_a_full_disk_is_one_sentence(dataset, model, tmp_path, monkeypatch):
    monkeypatch.setattr("cs_keras.runs.shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(StorageError, match="the disk is full"):
        compute(model, dataset, tmp_path / "a.f32")


def test_a_folder_that_cannot_be_written_is_one_sentence(dataset, model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write .*a.f32"):
        compute(model, dataset, tmp_path / "file" / "a.f32")


def test_batches_hold_every_sequence_once_with_its_tracks_target(dataset, model, tmp_path):
    found = compute(model, dataset, tmp_path / "a.f32")
    targets = np.arange(10, dtype=np.float32).reshape(5, 2)
    batches = SequenceBatches(found, np.array([0, 4]), targets, 4, seed=3)
    assert batches.steps_per_epoch == 2
    epochs = [[(x.numpy(), y.numpy()) for x, y in batches.from_epoch(e).take(2)] for e in (0, 1)]
    for epoch in epochs:
        x, y = (np.concatenate(part) for part in zip(*epoch, strict=True))
        assert sorted(map(tuple, x)) == sorted(map(tuple, found.values[[0, 1, 2, 9, 10, 11]]))
        row = [found.row[np.flatnonzero((found.values == v).all(axis=1))[0]] for v in x]
        assert np.array_equal(y, targets[row])
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])
    third = next(iter(batches.from_epoch(0).skip(2)))[0].numpy()
    assert np.array_equal(third, epochs[1][0][0]), "epochs follow one another"
    assert np.array_equal(
        np.concatenate([x for x, _ in batches.one_pass()]), np.concatenate([x for x, _ in epochs[0]])
    )
    assert len(batches.one_pass()) == 2


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_predictions_are_those_of_the_whole_model(dataset, model, tmp_path, batch_size):
    found = compute(model, dataset, tmp_path / "a.f32")
    x = keras.Input((3,))
    head = keras.Model(x, keras.layers.Dense(2, "tanh")(x / 1000.0))
    whole = keras.Model(model.input, head(model.output))
    expected = predict_tracks(whole, dataset, ROWS, SEQUENCE, 3)
    predicted = predict_from_sequences(head, found, ROWS, batch_size)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)  # float32 sums in another order


def test_xla_gives_the_same(dataset, model, tmp_path):
    plain, compiled = (compute(model, dataset, tmp_path / f"{jit}.f32", jit=jit) for jit in (False, True))
    np.testing.assert_allclose(plain.values, compiled.values, rtol=1e-4)  # as above
