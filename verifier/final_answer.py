r"""Where a text gives its final answer, for the families whose answers are judged without the steps before them.

In this order: what the last `<answer>...</answer>` holds, what the last `\boxed{...}` holds, what follows the last
`####` (the format of GSM8K), the whole text. Thinking that ends with `</think>` is left out first; thinking that never
ends has no answer after it.
"""

from __future__ import annotations

_BOXED = r"\boxed{"


def final_answer(text: str) -> str | None:
    """The answer without surrounding spaces; None where the text gives none."""
    answer = _marked(_after_thinking(text)).strip()
    return answer or None


def _after_thinking(text: str) -> str:
    before, end, after = text.rpartition("</think>")
    if end:
        return after
    return "" if "<think>" in text else after or before


def _marked(text: str) -> str:
    before, _, _ = text.rpartition("</answer>")
    _, opened, content = before.rpartition("<answer>")
    if opened:
        return content.partition("</answer>")[0]
    if _BOXED in text:
        return _in_braces(text.rpartition(_BOXED)[2])
    return text.rpartition("####")[2]


def _in_braces(text: str) -> str:
    """What precedes the brace that closes an open one; the whole text where none does."""
    depth = 1
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[:place]
    return text
