"""Statistics of evaluation: intervals, permutation and paired tests; arrays in, numbers out."""
