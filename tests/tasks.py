"""A task without steps, as a user would write one, and items of it: sums of two digits."""

from dataclasses import dataclass
from random import Random

from verifier.judgement import Judgement
from verifier.seeds import Index, item_seed
from verifier.task import Address, Item, Split, Stratum, distinct_items


@dataclass(frozen=True)
class Sums:
    """Sums of two numbers of so many digits. Test sums are even, the others odd."""

    digits: tuple[int, ...] = (1, 2)
    has_steps: bool = False
    has_gold: bool = True

    def strata(self) -> tuple[Stratum, ...]:
        return tuple(Stratum.of(digits=count) for count in self.digits)

    def item(self, stratum: Stratum, seed: int, index: Index, split: Split) -> Item:
        draw = Random(item_seed(seed, index))
        top = 10 ** int(stratum["digits"])
        a, b = draw.randrange(top), draw.randrange(top)
        b += (a + b) % 2 != (split != "test")
        return Item(f"{a}+{b}", Address(stratum, seed, index, split), f"{a} + {b} =", f" {a + b}", a + b)

    def judge(self, item: Item, text: str) -> Judgement:
        said = text.strip() or None
        return Judgement(right=said == str(item.payload), answer=said)

    def held_out(self, stratum: Stratum, count: int, seed: int) -> tuple[Item, ...]:
        return distinct_items(self, stratum, count, seed)


ITEM = Sums().item(Stratum.of(digits=1), 0, 0, "train")
