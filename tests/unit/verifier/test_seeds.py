from verifier.seeds import derive, item_seed, mix


def test_mixed_seeds_differ_in_every_part():
    seeds = {mix(a, b, c) for a in range(20) for b in range(20) for c in range(5)}
    assert len(seeds) == 2000
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert mix(1, 2) != mix(2, 1)


def test_the_seeds_that_recorded_results_depend_on_stay_as_they_are():
    assert item_seed(7, 3, 1) == mix(7, 3, 2, 1) == 5859288659876695092
    assert item_seed(7, (1, 2, 0), 1) == derive(7, "problem", 1, 2, 0, 1) == 5874384377801263996
