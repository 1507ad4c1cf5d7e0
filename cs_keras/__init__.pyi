from cs_keras.evaluation.summary import evaluate as evaluate
from cs_keras.layers.front_end import build_front_end as build_front_end
from cs_keras.models import load_model as load_model
from cs_keras.models.own import register_baseline as register_baseline
from pipelines.library import load_run as load_run
from pipelines.library import make_training_batches as make_training_batches
from pipelines.library import open_dataset as open_dataset
from pipelines.library import run_baselines as run_baselines

__version__: str
