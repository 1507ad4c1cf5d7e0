"""Types of option values, and options that several commands share."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cs_keras.errors import ConfigError

if TYPE_CHECKING:
    from cs_keras.audio.settings import AudioConfig
    from cs_keras.data.reader import ReadConfig
    from cs_keras.storage.location import Location
    from pipelines.training.attribute_files import AttributeFiles

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]


class LocalPath(click.ParamType):  # type: ignore[type-arg]
    """A path on this machine; a URL is refused, where a folder of that name would be made."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return `value` as a Path."""
        if re.match(r"[a-z][a-z0-9+.-]+://", str(value), re.IGNORECASE):
            raise ConfigError(f"Expected a path on this machine, not a URL. Received: {value}.")
        return Path(value)


class DatasetLocation(click.ParamType):  # type: ignore[type-arg]
    """A folder: a path, or a URL such as ``gs://bucket/prefix``."""

    name = "dataset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Location":
        """Return `value` as a Location."""
        from cs_keras.storage.location import locate  # fsspec takes long to import

        return locate(str(value))


class Numbers(click.ParamType):  # type: ignore[type-arg]
    """Numbers separated by commas."""

    name = "numbers"

    def __init__(self, kind: Callable[[str], float]) -> None:
        self._kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return `value` as a tuple."""
        try:
            return tuple(map(self._kind, str(value).split(",")))
        except ValueError:
            whole = "whole numbers" if self._kind is int else "numbers"
            self.fail(f"Expected {whole} separated by commas. Received: {value!r}.", param, ctx)


class Candidates(click.Choice):  # type: ignore[type-arg]
    """Tracks that lists may hold: ``all``, or ``new`` ones, of the test split; called ``test`` before."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return `value`; refuse the earlier name with the present one."""
        if value == "test":
            self.fail("'test' is called 'new' now.", param, ctx)
        return super().convert(value, param, ctx)


class TableFile(click.ParamType):  # type: ignore[type-arg]
    """A file of a table as a pair of table name and path: ``NAME=FILE``, or ``FILE`` with the name ""."""

    name = "[NAME=]FILE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Split `value`; what cannot be a name is part of the path."""
        from cs_keras.models.registry import is_table_name

        name, equals, path = str(value).partition("=")
        if not (equals and is_table_name(name)):
            name, path = "", str(value)
        return name, LocalPath().convert(path, param, ctx)


class SharedOption(click.Option):
    """An option of several commands; their help lists such options in a section of their own."""


class Command(click.Command):
    """A command whose help lists its own options first, and those that it shares with others below."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both sections."""
        for heading, is_shared in (("Options", False), ("Shared options", True)):
            options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
            own = [one for one in options if isinstance(one, SharedOption) == is_shared]
            records = [record for one in own if (record := one.get_help_record(ctx))]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


shared_option = functools.partial(click.option, cls=SharedOption)

mlflow_option = shared_option(
    "--mlflow",
    metavar="URI",
    help="Log runs and trials to MLflow: a server, a database, or a folder such as mlruns. Extra mlflow.",
)
LOCAL_PATH, DATASET, CANDIDATES = LocalPath(), DatasetLocation(), Candidates(["all", "new"])
COMBINE = click.Choice(["mean", "stack", "best", "ranks"])
INTEGERS, FLOATS = Numbers(int), Numbers(float)


def add_options(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options to a command, listed in this order by its help."""

    def decorate(command: Function) -> Function:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def renamed(old: str, new: str, sentence: str = "") -> Decorator:
    """Return a hidden option that refuses the spelling `old` and names the present one.

    `sentence` is the answer where another command still has `old`, with another meaning.
    """

    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            raise click.UsageError(sentence or f"No such option {old}; it is {new} now.", ctx)

    return click.option(old, hidden=True, expose_value=False, is_eager=True, callback=refuse)


factors_renamed = renamed(
    "--factors",
    "--n-factors",
    "--factors takes a name of factors; for the number of dimensions use --n-factors.",
)
factors_option = shared_option(
    "--factors", "factors_name", help="Name of the dataset's factors to predict.  [default: wmf]"
)
split_name_option = shared_option(
    "--split-name", help="Split made by `cs-keras split`.  [default: that of the factors; else of the folds]"
)
settings_options = add_options(
    shared_option("--config", "config_file", type=LOCAL_PATH, help="TOML file of settings."),
    shared_option(
        "--set",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="A setting, such as training.epochs=10 or models.bot.seed=1; may be repeated.",
    ),
)
split_option = shared_option(
    "--split",
    type=click.Choice(["all", "train", "validation", "test"]),
    help="Split of a dataset's tracks.  [default: all]",
)
decoder_option = shared_option(
    "--decoder",
    type=click.Choice(["auto", "soundfile", "tfio", "librosa"]),
    default="auto",
    help="Decoder of recordings; auto: the fastest that reads the file.",
)
folds_help = "Tracks that stay in one fold: all of an artist, or single tracks"

dataset_options = add_options(
    shared_option("--append", is_flag=True, help="Add new tracks to a finished dataset."),
    shared_option("--sample-rate", type=int, default=22050, help="Sample rate in Hz."),
    shared_option("--n-fft", type=int, default=1024, help="Window length and FFT size, in samples."),
    shared_option("--hop-length", type=int, default=512, help="Samples between the starts of windows."),
    shared_option(
        "--window", type=click.Choice(["hann", "hamming"]), default="hann", help="Window function."
    ),
    shared_option(
        "--mixdown",
        type=click.Choice(["mean", "sum"]),
        default="mean",
        help="Mono is the mean or the sum of channels; the thesis summed them.",
    ),
    shared_option(
        "--dtype",
        type=click.Choice(["float16", "float32"]),
        default="float16",
        help="Number format on disk.",
    ),
    shared_option("--shard-mb", type=int, default=128, help="Megabytes per shard."),
    shared_option(
        "--encoding", help="Encoding of tracks.csv.  [default: UTF-8, or UTF-16 by its byte-order mark]"
    ),
)


def audio_config(options: Mapping[str, Any], content: str = "magnitude") -> "AudioConfig":
    """Return the audio settings among the values of `dataset_options`."""
    from cs_keras.audio.settings import AudioConfig

    names = ("sample_rate", "n_fft", "hop_length", "window", "mixdown")
    return AudioConfig(content=content, **{name: options[name] for name in names})


def read_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Remove `settings_options` from a command's options, and return them as nested settings; ``--set`` wins."""
    from cs_keras import config

    file, assignments = options.pop("config_file"), options.pop("assignments")
    return config.merge(config.load_toml(file) if file else {}, config.parse_overrides(assignments))


attribute_options = add_options(
    shared_option(
        "--features",
        multiple=True,
        type=TableFile(),
        help="Attributes of tracks: CSV, TSV or Parquet, or an npz of track_ids and features. May be repeated: "
        "attributes@NAME is the model on table NAME.",
    ),
    shared_option(
        "--id-column",
        help="Id column of --features; artist for tables of artists.  [default: track_id, or the first column]",
    ),
    shared_option(
        "--attribute",
        "kinds",
        multiple=True,
        metavar="NAME=KIND",
        help="Read a column of --features as numeric, categorical or labels (separated by |), or ignore it.  "
        "[default: by its values]",
    ),
)


def attribute_files(options: dict[str, Any]) -> "AttributeFiles":
    """Remove `attribute_options` from a command's options, and return the files; none without ``--features``.

    Raises
    ------
    ConfigError
        When a kind does not exist, two tables have one name, or there are options of a table and no table.
    """
    from pipelines.training.attribute_files import AttributeFiles, parse_kinds

    features, id_column, kinds = (options.pop(name) for name in ("features", "id_column", "kinds"))
    if (id_column or kinds) and not features:
        raise ConfigError("--id-column and --attribute describe the table of --features, which is missing.")
    return AttributeFiles(name_tables(features), parse_kinds(kinds), id_column)


def name_tables(files: Sequence[tuple[str, Path]], option: str = "--features") -> dict[str, Path]:
    """Return the values of an option by table, in the order of names; ConfigError for a table given twice."""
    tables = dict(sorted(files))
    for name in tables:
        paths = [str(path) for own, path in files if own == name]
        if len(paths) > 1:
            which = f"Table {name} of {option}" if name else f"A table of {option} without a name"
            raise ConfigError(
                f"{which} may be given once; name others, as in {option} musicnn=FILE. Received: "
                f"{', '.join(paths)}."
            )
    return tables


weights_option = shared_option(
    "--weights",
    multiple=True,
    type=TableFile(),
    help="Weights of the encoder that computed table NAME, where they have moved since `cs-keras embed`.",
)

artist_option = shared_option(
    "--artist",
    metavar="NAME",
    help="Artist of recordings, for a model of artists.  [default: by tags or folders]",
)


reading_options = add_options(
    shared_option(
        "--reader",
        type=click.Choice(["ranges", "tfio"]),
        default="ranges",
        help="tfio: tensorflow-io, for local float32 shards.",
    ),
    shared_option("--cache", type=LOCAL_PATH, help="Folder that caches what is read from a bucket."),
    shared_option("--cache-size", default="200GB", help="Limit of --cache."),
    shared_option("--in-flight", type=int, help="Concurrent requests to a bucket.  [default: 32]"),
    shared_option("--timeout", type=float, help="Seconds until a request counts as stalled.  [default: 30]"),
)


def read_config(
    reader: str, cache: Path | None, cache_size: str, in_flight: int | None, timeout: float | None
) -> "ReadConfig":
    """Return the values of `reading_options` as settings; raise ConfigError when one is out of range."""
    from cs_keras.data.reader import ReadConfig
    from cs_keras.storage.cache import CacheConfig, parse_size
    from cs_keras.storage.remote import RemoteConfig, configure

    given = {"in_flight": in_flight, "timeout_s": timeout}
    remote = RemoteConfig(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    configure(remote)  # for tables and headers, which are read without these settings
    max_bytes = parse_size(cache_size)
    return ReadConfig(remote, CacheConfig(cache, max_bytes) if cache else None, reader)


def say_assigned(say: Callable[[str], Any], assignment: str, noun: str = "tracks") -> None:
    """Report that folds were not assigned by hash, if so: `assignment` is as a dataset's folder records it."""
    if assignment.startswith("round-robin"):
        say(f"Too few artists for ten hashed folds: {noun} were assigned {assignment}, largest group first.")


def say_artists(say: Callable[[str], Any], dataset: "Location") -> None:
    """Report how many tracks of a dataset have no known artist, or one that the name of a folder or file gave."""
    from cs_keras.data.integrity.checks import check_artists
    from cs_keras.data.schema import TRACKS_FILE, read_tracks

    for finding in check_artists(read_tracks(dataset), TRACKS_FILE):
        say(f"notice: {finding}")
