"""Features learnt without a network: codebooks, k-means, metric learning, shallow regressors."""
