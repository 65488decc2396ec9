from tests.golden.generated import FILE, lines


def test_the_generator_writes_the_bytes_it_has_always_written():
    golden = FILE.read_text(encoding="utf-8").splitlines()
    for expected, line in zip(golden, lines(), strict=True):
        assert line == expected
