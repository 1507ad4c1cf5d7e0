import numpy as np

from cs_keras.evaluation.search.exact import dot_products, paired_products, rough_error, rough_products, split


def test_dot_products_are_those_of_extended_precision(random):
    queries, items = (random.standard_normal((n, 300)) for n in (20, 30))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    expected = (queries[:, None].astype(np.longdouble) * items[None]).sum(axis=2)
    # Two roundings of 2**-47 in each of 300 factors of size 0.06 add up to about 1e-14.
    np.testing.assert_allclose(dot_products(split(queries), split(items)), expected, rtol=0, atol=3e-14)


def test_the_largest_sums_are_whole_and_below_2_to_the_53():
    """4,096 factors of one sign, the longest rows the module allows, low parts as large as they get."""
    query, item = (np.floor(length / 64 * 2**26) + 0.49 for length in (1.42, 1.12))
    queries, items = split(np.full((1, 4096), query * 2.0**-26)), split(np.full((1, 4096), item * 2.0**-26))
    q_high, q_low, i_high, i_low = (
        int(part[0, 0]) for part in (queries.high, queries.low, items.high, items.low)
    )
    high, cross = 4096 * q_high * i_high, 4096 * (q_high * i_low + q_low * i_high)
    assert 2**52 < high < 2**53 and 2**52 < cross < 2**53
    # Every sum is exact: what is left is the one rounding where the two are put together.
    assert dot_products(queries, items)[0, 0] == (high + cross * 2.0**-20) * 2.0**-52
    # Low parts of nearly half a unit, all of one sign, come as close to the bound as they can.
    missing = dot_products(queries, items)[0, 0] - rough_products(queries, items)[0, 0]
    assert 0.97 * rough_error(4096) < missing < rough_error(4096)


def test_paired_products_are_the_same_to_the_last_bit(random):
    queries, items = (split(random.standard_normal((50, 300)) / 20) for _ in range(2))
    np.testing.assert_array_equal(paired_products(queries, items), np.diag(dot_products(queries, items)))
