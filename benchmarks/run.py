"""Measure speed, as ratios to other libraries that do the same work in the same run.

    python -m benchmarks.run [--only TOPIC ...]

prints a table and writes build/bench.json. Rates depend on the machine; ratios are comparable between machines.
Missed targets are marked; with --strict they make the command fail.
"""

import argparse
import dataclasses
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.comparison import Comparison, Line
from benchmarks.settings import Settings

TOPICS = ("loader", "bucket", "front_end", "batch_norm", "bag_of_tones", "ingest", "top_k", "sweep")
HEADER = ("what", "ours", "peer", "unit", "compared with", "ratio", "target", "")
WIDTHS = (40, 8, 8, 12, 30, 6, 6, 6)


def main() -> int:
    arguments = _parser().parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    start = time.perf_counter()
    lines: list[Line] = []
    if arguments.workspace:
        arguments.workspace.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cs-keras-bench-", dir=arguments.workspace) as workspace:
        settings = _settings(arguments, Path(workspace))
        for topic in arguments.only or TOPICS:
            print(f"\n{topic.replace('_', ' ')}\n{_row(HEADER)}", flush=True)
            for line in importlib.import_module(f"benchmarks.{topic}").measure(settings):
                lines.append(line)
                print(_format(line), flush=True)
    seconds = time.perf_counter() - start
    _write(arguments.json, settings, lines, seconds)
    missed = [line for line in lines if isinstance(line, Comparison) and line.met is False]
    print(f"\n{len(missed)} targets missed; {seconds / 60:.1f} minutes; {arguments.json}")
    return 1 if missed and arguments.strict else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=TOPICS, metavar="TOPIC", help=", ".join(TOPICS))
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="output file")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    for field in dataclasses.fields(Settings):
        default = None if field.name == "workspace" else field.default
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(default) if default is not None else Path,
            default=default,
            help=f"default: {'the temporary folder' if default is None else default}",
        )
    return parser


def _settings(arguments: argparse.Namespace, workspace: Path) -> Settings:
    chosen = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)}
    return Settings(**{**chosen, "workspace": workspace})


def _format(line: Line) -> str:
    if not isinstance(line, Comparison):
        return f"{line.what:<{WIDTHS[0]}}  not measured: {line.reason}"
    target = "" if line.target is None else f"{line.target:g}"
    verdict = {None: "", True: "met", False: "MISSED"}[line.met]
    return _row(
        (line.what, _number(line.ours), _number(line.peer), line.unit, line.peer_name)
        + (f"{line.ratio:.2f}", target, verdict)
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _row(cells: tuple[str, ...]) -> str:
    left = (0, 3, 4, 7)
    return "  ".join(
        f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
        for column, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ).rstrip()


def _write(path: Path, settings: Settings, lines: list[Line], seconds: float) -> None:
    document = {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "settings": {name: str(v) if isinstance(v, Path) else v for name, v in vars(settings).items()},
        "seconds": seconds,
        "lines": [_plain(line) for line in lines],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _plain(line: Line) -> dict[str, object]:
    values = dataclasses.asdict(line)
    if isinstance(line, Comparison):
        values |= {"ratio": line.ratio, "met": line.met}
    return values


if __name__ == "__main__":
    sys.exit(main())
