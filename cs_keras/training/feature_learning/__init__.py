"""Feature learning without gradients through a network: codebooks, k-means, metric learning, shallow regressors."""
