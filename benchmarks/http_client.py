"""A bare HTTP/1.1 client on kept-alive connections: it shares the cores with the server, so it must cost little."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `tokens` and `model` are those of a completion, 0 and "" for anything else."""

    status: int
    body: bytes
    ms: float
    retry_after: str | None
    tokens: int = 0
    model: str = ""


class Client:
    """Asks 127.0.0.1; as many connections as requests are open at once."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def complete(self, body: dict[str, Any], refused_too: bool = False) -> Answer:
        """A completion of the model `latest`; RuntimeError for any status but 200, and 503 if `refused_too`."""
        answer = await self._send("POST", "/v1/completions", json.dumps({"model": "latest", **body}).encode())
        if answer.status == 503 and refused_too:
            return answer
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
        tokens, model = _streamed(answer.body) if body.get("stream") else _whole(answer.body)
        return Answer(answer.status, b"", answer.ms, None, tokens, model)

    async def get(self, path: str) -> Answer:
        """A GET."""
        return await self._send("GET", path, b"")

    def close(self) -> None:
        """Close the connections."""
        for _, writer in self._idle:
            writer.close()

    async def _send(self, method: str, path: str, body: bytes) -> Answer:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        begun = time.perf_counter()
        writer.write(head.encode() + body)
        status, headers, answer = await _read(reader)
        self._idle.append((reader, writer))
        return Answer(status, answer, (time.perf_counter() - begun) * 1000, headers.get("retry-after"))


def _whole(body: bytes) -> tuple[int, str]:
    answer = json.loads(body)
    return answer["usage"]["completion_tokens"], answer["model"]


def _streamed(body: bytes) -> tuple[int, str]:
    """Tokens of a stream that was asked for them: every choice lists its `token_ids`."""
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n")]
    parts = [json.loads(event) for event in events if event.startswith(b"{")]
    return sum(len(choice["token_ids"]) for part in parts for choice in part["choices"]), parts[0]["model"]


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    status = int(first.split(" ", 2)[1])
    if "content-length" in headers:
        return status, headers, await reader.readexactly(int(headers["content-length"]))
    parts = []
    while size := int((await reader.readline()).strip(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return status, headers, b"".join(parts)
