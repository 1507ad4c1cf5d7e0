import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cs_keras.errors import ConfigError, StorageError
from reports.formats.files import write_report
from reports.runs.collect import collect_runs
from reports.tables.all_tables import make_sections
from reports.tables.cells.table import Section
from tests.reports.conftest import HOSTILE, MakeRun

DOCUMENT = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{tables}\end{document}"


def sections_of(runs: Path, models: Sequence[str] = ()) -> tuple[Section, ...]:
    return make_sections(collect_runs(runs, models))


def test_the_same_runs_give_the_same_bytes(runs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    for model in ("lstm", "bot"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    first, second = (write_report(sections_of(runs), tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["tables.md", "tables.csv", "tables.tex"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert sorted((tmp_path / "a").iterdir()) == sorted(first)  # nothing temporary is left


def test_formats_and_order_can_be_chosen(runs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    for model in ("bot", "lstm"):
        make_run(f"2024-05-01-{model}-0123456789", model=model)
    (path,) = write_report(sections_of(runs, ["lstm", "bot"]), tmp_path, ["md"])
    text = path.read_text()
    assert path.name == "tables.md" and text.index("| lstm") < text.index("| bot")


def test_an_unknown_format_is_an_error_that_lists_the_known(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no report format 'pdf'. Expected one or more of: md, csv, latex."):
        write_report(sections_of(make_run()), tmp_path, ["md", "pdf"])
    assert not (tmp_path / "tables.md").exists()


def test_a_file_in_the_way_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match="Cannot write .*out"):
        write_report(sections_of(make_run()), tmp_path / "out")


def test_reports_need_no_tensorflow() -> None:
    program = (
        "import reports.tables.all_tables, reports.formats.terminal, reports.formats.files, sys; "
        "sys.exit(bool({'tensorflow', 'keras', 'pipelines'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(runs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    for i, name in enumerate(HOSTILE):
        make_run(f"2024-05-01-x-{i:010}", model=name, n_tracks=20, n_playlists=4, ks=(2, 50))
    write_report(sections_of(runs), tmp_path, ["latex"])
    (tmp_path / "document.tex").write_text(DOCUMENT)
    subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "document"],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
