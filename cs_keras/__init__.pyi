from cs_keras.evaluation.summary import evaluate as evaluate
from cs_keras.models import load_model as load_model
from cs_keras.models.own import register_baseline as register_baseline
from pipelines.library import load_run as load_run
from pipelines.library import open_dataset as open_dataset
from pipelines.library import run_baselines as run_baselines

__version__: str
