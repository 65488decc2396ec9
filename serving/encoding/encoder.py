"""Prompts to token ids, without holding up another request.

A tokenizer splits text by regular expressions of its own, and some take time quadratic in the length of a prompt, or
worse. Where all of them are known to be linear, a thread encodes what is long; any other tokenizer works in a process
of its own (`serving.encoding.encoder_process`), which is ended at a deadline (docs/decisions/0134).
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from tokenizers import Tokenizer

from serving.encoding import encoder_process
from serving.encoding.linear import is_linear
from serving.threads import in_thread
from verifier.errors import Signal

AT_ONCE_CHARS: Final = 1024
"""The longest prompt that is encoded on the event loop: well under a millisecond."""
DEADLINE_S: Final = 2.0
"""How long a prompt may take in a process; with a linear tokenizer the longest allowed one takes a tenth of it."""
START_DEADLINE_S: Final = 60.0


class EncodingFailed(Signal):
    """The tokenizer did not give the prompt's ids; the message says why, for the client."""


class Encoder(Protocol):
    """Gives the ids of texts."""

    async def ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text, without special tokens around it. Raises EncodingFailed."""
        ...

    async def stop(self) -> None:
        """Free what the encoder holds."""
        ...


def encoder_of(tokenizer: Tokenizer) -> Encoder:
    """The encoder that a tokenizer needs. It works on a copy: requests neither pad nor cut off."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return ThreadEncoder(copy) if is_linear(copy) else ProcessEncoder(copy)


class ThreadEncoder:
    """For tokenizers whose time is linear in the text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._one_at_a_time = asyncio.Lock()  # long prompts of one model take one core, not all

    async def ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text; never fails."""
        if len(text) <= AT_ONCE_CHARS:
            return self._encode(text)
        async with self._one_at_a_time:
            return await in_thread(self._encode, text)

    def _encode(self, text: str) -> tuple[int, ...]:
        # Of a batch: `encode` of one text would hold the interpreter's lock to its end.
        return tuple(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids)

    async def stop(self) -> None:
        """Nothing to free."""


class ProcessEncoder:
    """For any tokenizer: in a process of its own, one text at a time, which is ended when a text takes too long."""

    def __init__(self, tokenizer: Tokenizer, deadline_s: float = DEADLINE_S) -> None:
        self._tokenizer = tokenizer.to_str().encode()
        self._deadline_s = deadline_s
        self._process: Process | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text, once those before it have theirs."""
        async with self._one_at_a_time:
            try:
                process = self._process or await asyncio.wait_for(self._start(), START_DEADLINE_S)
                return await asyncio.wait_for(_asked(process, text), self._deadline_s)
            except TimeoutError as error:
                await self.stop()
                raise EncodingFailed(
                    f"takes this model's tokenizer longer than {self._deadline_s:g} s; shorten it"
                ) from error
            except (OSError, asyncio.IncompleteReadError) as error:
                await self.stop()
                raise EncodingFailed("makes this model's tokenizer fail") from error
            except asyncio.CancelledError:  # the next text would get the answer to this one
                await self.stop()
                raise

    async def _start(self) -> Process:
        command = (sys.executable, "-P", str(Path(encoder_process.__file__)))
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        await _asked(self._process, self._tokenizer)
        return self._process

    async def stop(self) -> None:
        """End the process; the next text gets a new one."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _asked(process: Process, message: str | bytes) -> tuple[int, ...]:
    assert process.stdin is not None
    assert process.stdout is not None
    data = message if isinstance(message, bytes) else message.encode()
    process.stdin.write(encoder_process.length(len(data)) + data)
    await process.stdin.drain()
    count = int.from_bytes(await process.stdout.readexactly(encoder_process.LENGTH_BYTES), "little")
    ids = array(encoder_process.ID_TYPE)
    ids.frombytes(await process.stdout.readexactly(count * ids.itemsize))
    return tuple(ids)
