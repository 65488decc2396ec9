from collections import Counter

import pytest

from verifier.errors import BadMixture
from verifier.mixture import Mixture, place_at
from verifier.task import Stratum

STRATA = tuple(Stratum.of(op=op) for op in (2, 3))


def test_strata_are_drawn_by_their_shares():
    mixture = Mixture(STRATA, (0.25, 0.75))
    drawn = Counter(mixture.at(1, index) for index in range(4000))
    assert 900 < drawn[STRATA[0]] < 1100
    assert drawn.total() == drawn[STRATA[0]] + drawn[STRATA[1]]
    assert {Mixture(STRATA, (1.0, 0.0)).at(0, index) for index in range(500)} == {STRATA[0]}
    assert Mixture.even(STRATA).shares == (0.5, 0.5)


def test_the_strata_of_a_stream_never_change():
    streams = ["".join(str(place_at((0.25, 0.75), seed, index)) for index in range(16)) for seed in (1, 2)]
    assert streams == ["1101111111101110", "0111101111101111"]


def test_a_draw_above_the_sum_of_the_shares_gets_the_last_of_them():
    assert {place_at((1e-9, 1e-9), 0, index) for index in range(8)} == {1}


def test_shares_that_do_not_fit_are_refused():
    with pytest.raises(BadMixture, match=r"^a mixture needs at least one cell$"):
        Mixture((), ())
    with pytest.raises(BadMixture, match="1 shares for 2 strata"):
        Mixture(STRATA, (1.0,))
    with pytest.raises(BadMixture, match=r"sum to 0.9, not to 1"):
        Mixture(STRATA, (0.5, 0.4))
