"""How far the truth behind the demo data bounds every model.

No model can know more of a track's sound than its style, which generated it. Predicting factors from true
styles is therefore about the best that prediction from sound can do with the same training tracks.
"""

import numpy as np
import numpy.typing as npt
from sklearn.kernel_ridge import KernelRidge

Matrix = npt.NDArray[np.float32]


def predict_from_styles(
    style_train: Matrix, factors_train: Matrix, style_test: Matrix, *, alpha: float = 0.5
) -> Matrix:
    """Predict tracks' factors from their true styles, by kernel ridge regression.

    The kernel is Gaussian, exp(-d² / (2 n_dims)) for a distance d: tastes fall off smoothly with distance.

    Parameters
    ----------
    style_train : ndarray, shape (n_train, n_dims), float
        Standardised styles, as in truth.npz; with the social side beside them, all that listeners followed.
    factors_train : ndarray, shape (n_train, n_factors), float
        Factors of the same tracks.
    style_test : ndarray, shape (n_test, n_dims), float
    alpha : float
        Regularisation.

    Returns
    -------
    ndarray, shape (n_test, n_factors), float32

    Raises
    ------
    ValueError
        By scikit-learn, if shapes do not agree.
    """
    model = KernelRidge(kernel="rbf", gamma=0.5 / style_train.shape[1], alpha=alpha)
    mean = factors_train.mean(axis=0)
    model.fit(style_train, factors_train - mean)
    return np.asarray(model.predict(style_test) + mean, dtype=np.float32)
