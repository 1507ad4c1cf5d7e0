"""Statistics of evaluation: bootstrap, permutation and paired tests; arrays in, numbers out."""
