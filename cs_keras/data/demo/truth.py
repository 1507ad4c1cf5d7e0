"""Upper bound of prediction from audio on the demo data: factors predicted from the true styles.

The style generated the audio, so a model cannot infer more than the style from it.
"""

import numpy as np
import numpy.typing as npt
from sklearn.kernel_ridge import KernelRidge

Matrix = npt.NDArray[np.float32]


def predict_from_styles(
    style_train: Matrix, factors_train: Matrix, style_test: Matrix, *, alpha: float = 0.5
) -> Matrix:
    """Predict tracks' factors, shape (n_test, n_factors), from their true styles, by kernel ridge regression.

    The kernel is Gaussian, exp(-d² / (2 n_dims)) for a distance d: affinity falls smoothly with distance;
    `alpha` is the regularisation. Styles are standardised as in truth.npz, shapes (n_train, n_dims) and (n_test,
    n_dims); with the social side concatenated, all that playlists depend on.
    """
    model = KernelRidge(kernel="rbf", gamma=0.5 / style_train.shape[1], alpha=alpha)
    mean = factors_train.mean(axis=0)
    model.fit(style_train, factors_train - mean)
    return np.asarray(model.predict(style_test) + mean, dtype=np.float32)
