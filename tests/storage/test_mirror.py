"""Small files of a remote folder, brought to this machine."""

from pathlib import Path

from cs_keras.storage.location import locate
from cs_keras.storage.mirror import mirrored


def test_matching_files_are_copied_with_their_folders() -> None:
    folder = locate("memory://mirror/study")
    for name in ("study.json", "trials/0001/trial.json", "trials/0001/execution-0/model.weights.h5"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    with mirrored(folder, "study.json", "trials/*/trial.json") as copy:
        files = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
        assert files == ["study.json", "trials/0001/trial.json"]
        assert (copy / files[1]).read_bytes() == files[1].encode()
    assert not copy.exists()


def test_a_local_folder_is_read_in_place(tmp_path: Path) -> None:
    with mirrored(tmp_path, "*") as copy:
        assert copy == tmp_path
    assert tmp_path.exists()


def test_a_missing_folder_is_empty() -> None:
    with mirrored(locate("memory://mirror/nothing"), "*") as copy:
        assert not list(copy.iterdir())
