"""Spark sessions, and Spark's errors in one sentence."""

import contextlib
import importlib.util
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cs_keras.errors import ConfigError, CsKerasError, DataError, StorageError

LOCAL_MASTER = "local[*]"
_PROPERTY = re.compile(r"(spark\.[^=\s]+)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class SparkConfig:
    """Where Spark runs.

    Attributes
    ----------
    master
        ``local[*]``, in processes of this machine; or the URL of a cluster, such as ``spark://host:7077``.
    options
        Spark's own properties, each ``spark.NAME=VALUE``.
    """

    master: str = LOCAL_MASTER
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        for option in self.options:
            if not _PROPERTY.fullmatch(option):
                raise ConfigError(f"A Spark option must be spark.NAME=VALUE. Received: {option!r}.")

    @property
    def properties(self) -> dict[str, str]:
        """Spark's properties by name."""
        quiet = {
            "spark.log.level": "ERROR",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.maxResultSize": "0",  # factors are larger than Spark's default of 1 GB
        }
        if self.master.startswith("local"):
            quiet |= {"spark.ui.enabled": "false", "spark.pyspark.python": sys.executable}
        return quiet | dict(option.split("=", 1) for option in self.options)


@contextlib.contextmanager
def open_spark(config: SparkConfig) -> Iterator[Any]:
    """Yield a SparkSession, and stop it.

    Raises
    ------
    ConfigError
        PySpark or Java is missing.
    CsKerasError
        For what Spark raises: DataError for a file that is not Parquet, StorageError for one that cannot be read.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise ConfigError(
            "--engine spark needs PySpark, which is not installed: pip install 'cs-keras[spark]'."
        )
    if not find_java():
        raise ConfigError(
            "--engine spark needs Java 17 or later: expected the command java on the PATH, or JAVA_HOME."
        )
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it logs connections that stop() closes
    try:
        spark = _start(config)
        try:
            yield spark
        finally:
            spark.stop()
    except (PySparkException, Py4JError) as error:
        raise _translate(str(error)) from error


def _start(config: SparkConfig) -> Any:
    """Start Spark, with the notes of its Java process in a file, which explains a failure."""
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(config.master).appName("cs-keras factors")
    for name, value in config.properties.items():
        builder = builder.config(name, value)
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            return builder.getOrCreate()
        except PySparkException as error:
            log.seek(0)
            raise _translate(f"{error}\n{log.read().decode(errors='replace')}") from error
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def find_java() -> str | None:
    """Return the command java that Spark starts, None where there is none."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=os.path.join(home, "bin")) if home else shutil.which("java")


def _translate(text: str) -> CsKerasError:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "OutOfMemoryError" in text:
        return CsKerasError(
            "Spark ran out of memory: give it more by --spark-option spark.driver.memory=8g, or on a cluster "
            "spark.executor.memory."
        )
    if "PATH_NOT_FOUND" in text:
        return StorageError(f"Spark cannot read the interactions: {lines[0]}")
    if "CANNOT_READ_FILE_FOOTER" in text or "is not a Parquet file" in text:
        return DataError("The interactions are not Parquet, the one format that --engine spark reads.")
    # The line of the Java exception, or else the first one.
    reason = next(
        (line for line in lines if re.match(r"(:|Caused by:) ?[\w.$]+(Exception|Error)\b", line)), lines[0]
    )
    return CsKerasError(f"Spark failed: {reason.removeprefix(':').strip().rstrip('.')}.")
