"""A run folder with tiny checkpoints, a fake engine of the real protocol, and the application over both.

No port, no Ray and no vLLM here: `httpx` talks to the ASGI application directly. The tests of the real server are
in `test_served.py`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from actors.config import PolicyConfig, TokenizerConfig
from actors.engines.protocol import EngineDead, LoadReport, TokenDelta, TopLogprob
from actors.policy.checkpoint import CheckpointStore, Lineage
from actors.policy.model import build, save
from actors.policy.text_format import text_format
from actors.policy.tokenizer import build_tokenizer
from actors.records import Completion, FinishReason, Sampling
from actors.weights.version import WeightVersion
from serving.config import ServingConfig
from serving.encoding.codec import Codec
from serving.http.keys import KeyRecord, new_key
from serving.models.registry import Entry
from serving.replica import Replica
from tests.runs import NotedControl

# A head width of 32 is the smallest that vLLM serves on a CPU.
TINY = PolicyConfig(layers=1, hidden=64, ffn=64, heads=2, kv_heads=2, max_positions=1024)
TOKENIZER = build_tokenizer(TokenizerConfig.model_validate({}))


@dataclass
class Script:
    """What the fake engines do. `write` makes the text that follows a prompt from (model id, seed)."""

    write: Callable[[str, int], str] = lambda model, seed: f" Define {model} as A {seed % 97}."
    delay_s: float = 0.0
    gate: asyncio.Event | None = None  # when set, every token waits for it
    fail_to_start: set[str] = field(default_factory=set)
    before_start: Callable[[Entry], object] | None = None
    dies: bool = False
    aborted: int = 0
    open: int = 0
    started: list[str] = field(default_factory=list)
    engines: list[FakeEngine] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


class FakeEngine:
    """Speaks `actors.engines.protocol.Engine`: writes the script's text token by token, at once or slowly."""

    def __init__(self, script: Script, entry: Entry, codec: Codec) -> None:
        self._script = script
        self._entry = entry
        self._codec = codec
        self.progress = 0
        self.ended = False

    @property
    def weight_version(self) -> int:
        return self._entry.manifest.step

    @property
    def open_requests(self) -> int:
        return self._script.open

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        version = self.weight_version
        ids: list[int] = []
        logprobs: list[float] = []
        reason: FinishReason = "stop"
        async with aclosing(self.stream(prompt_ids, sampling)) as stream:
            async for delta in stream:
                ids += delta.token_ids
                logprobs += delta.logprobs
                reason = delta.finish_reason or reason
        return Completion(index, tuple(ids), tuple(logprobs), reason, version, version)

    async def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        script = self._script
        if self.ended:
            raise EngineDead("the process of the engine has ended")
        if sampling.max_tokens == 1:  # the probe after a load
            yield TokenDelta((7,), (-0.5,), (), "length", self.weight_version)
            return
        written = await self._codec.encode(script.write(self._entry.id, sampling.seed or 0))
        ids = [*written, *sampling.stop_token_ids[:1]]
        script.open += 1
        done = False
        try:
            for place, token_id in enumerate(ids[: sampling.max_tokens]):
                if script.gate is not None:
                    await script.gate.wait()
                await asyncio.sleep(script.delay_s)
                if script.dies:
                    raise EngineDead("the script says so")
                last = place == min(len(ids), sampling.max_tokens) - 1
                reason: FinishReason | None = (
                    None if not last else "stop" if len(ids) <= sampling.max_tokens else "length"
                )
                top = tuple(TopLogprob(i, -float(i)) for i in range(10, 10 + sampling.top_logprobs))
                done = last
                yield TokenDelta((token_id,), (-0.25,), (top,) if top else (), reason, self.weight_version)
        finally:
            script.open -= 1
            script.aborted += not done

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        return [-1.0] * (len(token_ids) - 1)

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> LoadReport:
        raise AssertionError("a served engine keeps the weights that it was opened with")

    async def stop(self) -> None:
        self._script.stopped.append(self._entry.id)


class FakeFactory:
    """Makes fake engines and real codecs."""

    name = "fake 1"

    def __init__(self, script: Script, codec: Codec) -> None:
        self._script = script
        self._codec = codec

    async def engine(self, entry: Entry, directory: Path) -> FakeEngine:
        if entry.id in self._script.fail_to_start:
            raise RuntimeError("these weights are of another shape")
        if self._script.before_start is not None:
            self._script.before_start(entry)
        entry.store.path(entry.manifest.id)  # as the real one reads it: CheckpointError when it has gone
        self._script.started.append(entry.id)
        self._script.engines.append(FakeEngine(self._script, entry, self._codec))
        return self._script.engines[-1]

    def codec(self, entry: Entry, directory: Path) -> Codec:
        return self._codec


def publish(store: CheckpointStore, stage: str, step: int, seed: int, score: float | None = None) -> None:
    """One tiny checkpoint with random weights."""

    def write(directory: Path) -> None:
        save(build(TINY, len(TOKENIZER), seed), TOKENIZER, directory)

    lineage = Lineage(run="demo", stage=stage, step=step, parent=None, seed=seed, tokens=100, flops=1e6, score=score)
    store.publish(lineage, write)


@pytest.fixture(scope="session")
def pristine_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """runs/demo with pretrain-10 and rl-1, rl-2, rl-3; `best` is rl-2. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs") / "demo"
    store = CheckpointStore(folder / "checkpoints")
    for number, (stage, step, score) in enumerate(
        [("pretrain", 10, None), ("rl", 1, 0.1), ("rl", 2, 0.5), ("rl", 3, 0.3)]
    ):
        publish(store, stage, step, seed=number, score=score)
    return folder


@pytest.fixture
def run_dir(pristine_run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    import shutil

    return Path(shutil.copytree(pristine_run, tmp_path / "demo"))


@dataclass(frozen=True)
class Keys:
    """One key of each scope, in clear, and their records."""

    read: str
    probe: str
    admin: str
    records: tuple[KeyRecord, ...]


@pytest.fixture(scope="session")
def keys() -> Keys:
    """Fresh keys."""
    made = {scope: new_key(f"test-{scope}", scope) for scope in ("read", "probe", "admin")}
    return Keys(
        made["read"][0], made["probe"][0], made["admin"][0], tuple(itertools.chain(r for _, r in made.values()))
    )


@dataclass
class Server:
    """The application under test, the fake engines' script, what runs are asked, and a client with the admin key."""

    replica: Replica
    script: Script
    control: NotedControl
    client: httpx.AsyncClient
    keys: Keys

    def as_key(self, key: str | None) -> httpx.AsyncClient:
        """A client with another key, or with none."""
        headers = {"authorization": f"Bearer {key}"} if key is not None else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.replica.app, raise_app_exceptions=False),
            base_url="http://interplay.test",
            headers=headers,
        )


@pytest.fixture(scope="session")
def codec() -> Codec:
    """The codec of all tiny checkpoints."""
    return Codec(text_format(TOKENIZER), TINY.max_positions)


@pytest.fixture
async def serve(run_dir: Path, keys: Keys, codec: Codec) -> AsyncIterator[Callable[..., Server]]:
    """A function that makes servers from settings; they are stopped after the test."""
    made: list[Server] = []

    def make(**settings: object) -> Server:
        script, control = Script(), NotedControl()
        config = ServingConfig.model_validate(
            {"run_dirs": [run_dir], "keys": keys.records, "listen": {"port": 8000}, **settings}
        )
        replica = Replica(config, control, FakeFactory(script, codec))
        server = Server(replica, script, control, httpx.AsyncClient(), keys)
        server.client = server.as_key(keys.admin)
        made.append(server)
        return server

    yield make
    for server in made:
        await server.client.aclose()
        await server.replica.stop()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """A server with the default settings."""
    return serve()
