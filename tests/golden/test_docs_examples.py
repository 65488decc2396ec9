import pytest

from tests.golden.docs_examples import BLOCK, DOCS, PAGES, rendered


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PAGES)
def test_the_documentation_shows_what_its_commands_print(name):
    page = (DOCS / name).read_text(encoding="utf-8")
    assert len(BLOCK.findall(page)) >= 4
    assert rendered(page) == page
