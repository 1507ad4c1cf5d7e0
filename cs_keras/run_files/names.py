"""Names of the files in run folders and study folders."""

# Of every run, and of an ensemble, which is a run folder too.
CONFIG_FILE = "config.json"  # all resolved settings and the digest of the data
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"  # a line for each epoch
MODEL_FILE = "model.keras"
TRAINING_FILE = "training.json"
SIGNATURE_FILE = "signature.json"
PREDICTIONS_FILE = "predictions.npz"
EVALUATION_FILE = "evaluation.json"
QUERIES_FILE = "queries.npz"  # results of each query
LABEL_EVALUATION_FILE = "label_evaluation.json"  # in place of the last two, of a run whose targets are labels
LABELS_FILE = "labels.npz"
FAILURE_FILE = "failure.json"  # of a run whose last attempt failed
ERROR_LOG = "error.log"
INSPECTION_FILE = "inspection.npz"
RESULT_FILES = (
    *(METRICS_FILE, PREDICTIONS_FILE, EVALUATION_FILE, QUERIES_FILE, INSPECTION_FILE, LABEL_EVALUATION_FILE),
)
"""Files that a model is not used with."""

# Of runs whose training has more steps.
WORK_FOLDER = "checkpoint"  # what a resumed run needs and a finished one does not
EMBEDDING_FOLDER = "embedding"  # metrics of a triplet embedding
CLASSIFIER_FOLDER = "classifier"  # metrics of a genre classifier
BRANCHES_FOLDER = "branches"  # a folder for each branch of a fusion
BRANCH_FILE = "branch.json"
VECTORS_FILE = "vectors.npz"
ATTRIBUTES_FILE = "attributes.json"  # the encoding of attributes
ENCODER_FILE = "encoder.json"  # the audio encoder that computed a table of attributes
ARTISTS_FILE = "artists.npz"  # artists and factors of the train tracks
ESTIMATOR_FILE = "estimator.json"  # the training of an estimator of attributes
ESTIMATES_FILE = "estimates.npz"
GENRES_FILE = "genres.npz"  # genre predictions of the tracks that were not trained on

# Of a tuning study.
STUDY_FILE = "study.json"
PLAN_FILE = "plan.json"
STARTS_FILE = "starts.json"
TRIAL_FILE = "trial.json"
ORACLE_FILE = "oracle.json"
OUTCOME_FILE = "outcome.json"
VALIDATION_FILE = "validation.npz"  # results of each query of the validation tracks
BEST_FILE = "best.toml"  # settings of the best trial

# Of a size study.
SIZE_STUDY_FILE = "size-study.json"
