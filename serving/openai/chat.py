"""A chat as a prompt: policies of op-graph problems have seen problems only (docs/decisions/0044)."""

from __future__ import annotations

from serving.openai.schemas import ChatRequest
from verifier.graphs.solver.reading import split_text
from verifier.graphs.tell import prompt_text


def chat_prompt(body: ChatRequest) -> str:
    """The user's text as a problem (unless it is a whole prompt already), and the trace to continue."""
    content = body.messages[0].content.strip()
    prompt = content if content.startswith("<question>") else prompt_text(*split_text(content))
    if len(body.messages) == 1:
        return prompt
    return f"{prompt} {body.messages[1].content.strip()}"
