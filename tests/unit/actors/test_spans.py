from actors.spans import tokens_of


def test_a_token_belongs_to_the_stretch_that_holds_its_last_character():
    ends = [4, 9, 10, 16]
    assert tokens_of(1, 9, ends) == (0, 2)
    assert tokens_of(10, 16, ends) == (3, 4)


def test_a_stretch_that_ends_no_token_has_none():
    assert tokens_of(2, 3, [10]) == (0, 0)
    assert tokens_of(0, 0, []) == (0, 0)
    assert tokens_of(-5, -2, [3]) == (0, 0)
