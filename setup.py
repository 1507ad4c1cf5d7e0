"""Package definition: what is installed, what it needs, and the command it brings."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "cs_keras" / "__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

TENSORFLOW = ">=2.17.1,<2.21"  # as kapre needs it, and Keras below 3.14

INSTALL_REQUIRES = [
    f"tensorflow{TENSORFLOW}",
    "keras>=3.13,<3.14",
    "kapre==0.4.1",
    "keras-tuner>=1.4.8,<1.5",
    "fsspec==2025.9.0",
    "gcsfs==2025.9.0",
    "universal-pathlib>=0.3.7,<0.4",
    "typing-extensions>=4.10",
    "h5py>=3.11",
    "isal>=1.7",
    "jinja2>=3.1",
    "librosa>=0.11",
    "soundfile>=0.13",
    "soxr>=0.5",
    "mutagen>=1.47",
    "scikit-learn>=1.7",
    "scipy>=1.14",
    "implicit>=0.7.2,<0.8",
    "threadpoolctl>=3.5",
    "numba>=0.60",
    "pyarrow>=18,<25",
    "click>=8.1",
    "rich>=13.9",
    "matplotlib>=3.9",
    "plotly>=6.0,<7",
    "msgspec>=0.19,<1",
    "numpy>=1.26.4,<3",
]

EXTRAS_REQUIRE = {
    "gpu": [f"tensorflow[and-cuda]{TENSORFLOW}"],
    "tfio": ["tensorflow-io==0.37.1", "tensorflow<2.18"],  # its native operations load on no later TensorFlow
    "embed": ["onnxruntime>=1.20,<2"],
    "beam": ["apache-beam>=2.77,<3"],
    "dask": ["apache-beam>=2.77,<3", "dask>=2026.1", "distributed>=2026.1"],
    "spark": ["pyspark>=4.0,<5"],
    "mlflow": ["mlflow-skinny>=3.1,<4"],
    "spotify": ["spotipy>=2.26,<3"],
    "docs": [
        "furo>=2025.9",
        "myst-nb>=1.3",
        "onnx>=1.17",
        "onnxruntime>=1.20,<2",
        "sphinx>=8.2,<9",
        "sphinx-click>=6.1",
    ],
    "dev": [
        "faiss-cpu>=1.12",  # the benchmarks' peer
        "gcp-storage-emulator>=2024.8.3",
        "hypothesis>=6.130",
        "import-linter>=2.3",
        "mypy>=1.15",
        "onnxruntime>=1.20,<2",
        "pytest>=8.3",
        "pytest-timeout>=2.4",
        "pytest-xdist>=3.6",
        "pyyaml>=6.0",
        "ruff>=0.11",
        "spotipy>=2.26,<3",
        "uv>=0.6",
    ],
}

setup(
    name="cs-keras",
    version=VERSION,
    description="How well can the sound of a brand-new track, alone, place it where listeners would?",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["cs_keras*", "pipelines*", "tuning*", "reports*"]),
    package_data={
        "cs_keras": ["py.typed", "*.pyi", "models/*.csv"],
        "reports": ["assets/*", "templates/*"],
        "tuning": ["grids/*.toml"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["cs-keras = cs_keras.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
