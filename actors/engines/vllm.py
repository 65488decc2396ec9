"""The vLLM engine: one in-process LLMEngine, driven by one thread that alone touches it.

Requests, aborts and weight updates reach that thread through a queue and happen between two steps, so pausing is
simply not stepping. Whole completions cross back to asyncio once, when they finish; streams cross at every step.
A process holds one engine. It knows nothing of Ray actors, text or rewards.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import torch
import vllm.envs
from transformers import AutoConfig, AutoModelForCausalLM
from vllm import SamplingParams
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.config.weight_transfer import WeightTransferConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.exceptions import VLLMValidationError
from vllm.inputs import tokens_input
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine

from actors.config import EngineConfig
from actors.engines.protocol import EngineDead, EngineTimeout, LoadReport, RequestRefused, TokenDelta, TopLogprob
from actors.engines.vllm_settings import vllm_settings
from actors.records import Completion, FinishReason, Sampling
from actors.weights.object_store import fetch
from actors.weights.version import WeightVersion, check_layout
from actors.weights.vllm_loader import TRANSFER

_STOP_TIMEOUT_S: Final = 30.0

_T = TypeVar("_T")

# vLLM keeps the state of a forward pass in module globals: two engines of a process would read each other's, and crash
# or hang.
_only_engine = threading.Lock()


class VllmEngine:
    """An `Engine` on vLLM. Make it with `await VllmEngine.start(...)`, in a process with `engine_env` set."""

    def __init__(self, driver: _Driver, shape: _Shape, version: int) -> None:
        self._driver = driver
        self._shape = shape
        self._version = version
        self._names = itertools.count()

    @classmethod
    async def start(cls, model_dir: Path, config: EngineConfig, weight_version: int = 0) -> VllmEngine:
        """Start vLLM on a transformers directory: about 4 s on a CPU once vLLM is imported.

        Raises EngineDead with vLLM's own reason when it cannot start.
        """
        if vllm.envs.VLLM_ENABLE_V1_MULTIPROCESSING:
            raise EngineDead("vLLM would start child processes: set actors.config.engine_env in this process first")
        driver = _Driver(lambda: _open_engine(model_dir, config, weight_version))
        return cls(driver, await driver.open(), weight_version)

    @property
    def progress(self) -> int:
        """Steps taken so far."""
        return self._driver.steps

    @property
    def open_requests(self) -> int:
        """Requests accepted and not yet answered."""
        return len(self._driver.sinks)

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, index: int = 0) -> Completion:
        """One whole completion; see the protocol."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[RequestOutput] = loop.create_future()
        params = _params(sampling, RequestOutputKind.FINAL_ONLY)
        name = self._submit(prompt_ids, params, _Sink(loop, lambda item: _settle(done, item)))
        try:
            output = await done
        except asyncio.CancelledError:
            self._driver.abort(name)
            raise
        return _completion(output.outputs[0], index)

    async def stream(self, prompt_ids: Sequence[int], sampling: Sampling) -> AsyncGenerator[TokenDelta, None]:
        """The completion as it is drawn; see the protocol."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[RequestOutput | Exception] = asyncio.Queue()
        params = _params(sampling, RequestOutputKind.DELTA)
        name = self._submit(prompt_ids, params, _Sink(loop, arrived.put_nowait))
        finished = False
        try:
            while not finished:
                item = await arrived.get()
                if isinstance(item, Exception):
                    finished = True
                    raise item
                finished = item.finished
                yield _delta(item.outputs[0], sampling.top_logprobs, self._version)
        finally:
            if not finished:
                self._driver.abort(name)

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probabilities of tokens 1.. by one prefill; the prefix cache is not read."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[RequestOutput] = loop.create_future()
        params = SamplingParams(
            max_tokens=1,
            prompt_logprobs=0,
            temperature=0,
            detokenize=False,
            ignore_eos=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._submit(token_ids, params, _Sink(loop, lambda item: _settle(done, item)))
        positions = (await done).prompt_logprobs
        assert positions is not None
        pairs = zip(token_ids, positions, strict=True)
        return [position[token].logprob for token, position in pairs if position is not None]

    async def load(self, weights: WeightVersion, fetch_timeout_s: float, load_timeout_s: float) -> LoadReport:
        """Fetch and check while generating, then load between two steps; see the protocol.

        Keys and values of open requests are computed again, so every later token is drawn by the new policy alone.
        """
        began = time.monotonic()
        check_layout(weights, self._shape.layout)
        tensors = await asyncio.to_thread(fetch, weights, fetch_timeout_s)
        fetched = time.monotonic()
        seconds = self._driver.call(lambda engine: _update(engine, tensors, weights.version))
        try:
            async with asyncio.timeout(load_timeout_s):
                pause_s = await asyncio.wrap_future(seconds)
        except TimeoutError as error:
            message = f"weight version {weights.version}: no load in {load_timeout_s:g} s (fleet.load_timeout_s)"
            raise EngineTimeout(message) from error
        self._version = weights.version
        return LoadReport(weights.version, fetched - began, time.monotonic() - fetched, pause_s)

    async def stop(self) -> None:
        """Fail the open requests and free the engine. Raises EngineTimeout if its thread does not end."""
        self._driver.close()
        await asyncio.to_thread(self._driver.join, _STOP_TIMEOUT_S)
        if self._driver.is_alive():
            raise EngineTimeout(f"the engine's thread did not end in {_STOP_TIMEOUT_S:g} s")

    def _submit(self, prompt_ids: Sequence[int], params: SamplingParams, sink: _Sink) -> str:
        if not all(0 <= token < self._shape.vocab_size for token in prompt_ids):
            raise RequestRefused(f"a prompt token is outside the vocabulary of {self._shape.vocab_size}")
        name = str(next(self._names))
        self._driver.add(name, list(prompt_ids), params, sink)
        return name


@dataclass(frozen=True, slots=True)
class _Shape:
    """The parameters that a version must bring (tied ones once), by name, and the bound of token ids."""

    layout: dict[str, tuple[int, ...]]
    vocab_size: int


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where the outputs of a request go: a function to call in its loop, with an output or the failure."""

    loop: asyncio.AbstractEventLoop
    put: Callable[[Any], None]


class _Driver(threading.Thread):
    """The thread that opens an LLMEngine, owns it and shuts it down. Other threads only put calls into its queue."""

    def __init__(self, open_engine: Callable[[], tuple[LLMEngine, _Shape]]) -> None:
        super().__init__(name="vllm-engine", daemon=True)
        self.sinks: dict[str, _Sink] = {}
        self.steps = 0
        self._open_engine = open_engine
        self._opened: Future[_Shape] = Future()
        self._calls: queue.SimpleQueue[tuple[Callable[[LLMEngine], Any], Future[Any]]] = queue.SimpleQueue()
        self._failure: str | None = None
        self._ending = threading.Lock()  # held to set the failure, and to add what the failure must reach
        self._closing = False

    async def open(self) -> _Shape:
        """Start, and wait for the engine, which is the only one of its process. Raises EngineDead."""
        if not _only_engine.acquire(blocking=False):
            raise EngineDead("this process holds an engine already: stop it, or start another process")
        self._opened.set_running_or_notify_cancel()  # a caller who leaves does not cancel it
        self.start()
        try:
            return await asyncio.wrap_future(self._opened)
        except asyncio.CancelledError:
            self.close()  # nobody else will
            raise

    def add(self, name: str, prompt_ids: list[int], params: SamplingParams, sink: _Sink) -> None:
        """Submit a request; a refusal goes to its sink."""
        with self._ending:
            if self._failure is not None:
                raise EngineDead(self._failure)
            self.sinks[name] = sink
        self.call(lambda engine: self._add(engine, name, prompt_ids, params))

    def abort(self, name: str) -> None:
        """Forget a request; nothing more reaches its sink."""
        self.sinks.pop(name, None)
        self.call(lambda engine: engine.abort_request([name]))

    def call(self, function: Callable[[LLMEngine], _T]) -> Future[_T]:
        """Run `function` between two steps, or never if the future is cancelled first.

        If it raises, the engine is taken for dead.
        """
        result: Future[_T] = Future()
        with self._ending:
            if self._failure is None:
                self._calls.put((function, result))
            else:
                result.set_exception(EngineDead(self._failure))
        return result

    def close(self) -> None:
        """Ask the thread to end after the step it is in."""
        self._closing = True
        self.call(lambda engine: None)

    def run(self) -> None:
        """Open the engine and step it while there is work; whoever waits when it fails is told the cause."""
        try:
            engine, shape = self._open_engine()
        except Exception as error:  # whatever vLLM raises at start is the reason that the caller must see
            _only_engine.release()  # before the caller is told, who may start another at once
            self._opened.set_exception(EngineDead(f"the engine did not start: {type(error).__name__}: {error}"))
            return
        self._opened.set_result(shape)
        try:
            self._drive(engine)
            self._end("the engine was stopped")
        except Exception as error:  # a failed step leaves vLLM in an undefined state: fail all with the first cause
            self._end(f"the engine failed: {type(error).__name__}: {error}")
        finally:
            engine.engine_core.shutdown()
            _only_engine.release()

    def _drive(self, engine: LLMEngine) -> None:
        while not self._closing:
            if not engine.has_unfinished_requests():
                self._run_call(engine)  # sleeps until there is one
            while not self._calls.empty():
                self._run_call(engine)
            if engine.has_unfinished_requests():
                outputs = engine.step()
                self.steps += 1
                if outputs:
                    self._deliver(cast("list[RequestOutput]", outputs))

    def _run_call(self, engine: LLMEngine) -> None:
        function, result = self._calls.get()
        if not result.set_running_or_notify_cancel():  # the caller has cancelled it
            return
        try:
            result.set_result(function(engine))
        except Exception as error:
            result.set_exception(EngineDead(f"{type(error).__name__}: {error}"))
            raise

    def _add(self, engine: LLMEngine, name: str, prompt_ids: list[int], params: SamplingParams) -> None:
        if name not in self.sinks:  # aborted before it began
            return
        try:
            engine.add_request(name, tokens_input(prompt_ids), params)
        except (ValueError, VLLMValidationError) as error:
            if (sink := self.sinks.pop(name, None)) is not None:
                _post([(sink, RequestRefused(str(error)))])

    def _deliver(self, outputs: list[RequestOutput]) -> None:
        posts: list[tuple[_Sink, Any]] = []
        for output in outputs:
            name = output.request_id
            sink = self.sinks.pop(name, None) if output.finished else self.sinks.get(name)
            if sink is not None:  # it was not aborted
                posts.append((sink, output))
        _post(posts)

    def _end(self, why: str) -> None:
        """Fail the open requests, the calls that have not run, and all that come later."""
        with self._ending:
            self._failure = why
            open_sinks, self.sinks = list(self.sinks.values()), {}
        _post([(sink, EngineDead(why)) for sink in open_sinks])
        while not self._calls.empty():
            _, result = self._calls.get()
            if result.set_running_or_notify_cancel():
                result.set_exception(EngineDead(why))


def _post(posts: list[tuple[_Sink, Any]]) -> None:
    """Give the items to their loops, waking each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Sink, Any]]] = {}
    for sink, item in posts:
        by_loop.setdefault(sink.loop, []).append((sink, item))
    for loop, items in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_put_all, items)


def _put_all(items: list[tuple[_Sink, Any]]) -> None:
    for sink, item in items:
        sink.put(item)


def _settle(done: asyncio.Future[RequestOutput], item: RequestOutput | Exception) -> None:
    if done.done():
        return
    if isinstance(item, Exception):
        done.set_exception(item)
    else:
        done.set_result(item)


def _engine_args(model_dir: Path, config: EngineConfig) -> EngineArgs:
    card_bytes = torch.cuda.mem_get_info()[1] if config.device == "cuda" else None
    transfer = WeightTransferConfig(backend=TRANSFER)
    return EngineArgs(**vllm_settings(model_dir, config, card_bytes), weight_transfer_config=transfer)


def _open_engine(model_dir: Path, config: EngineConfig, version: int) -> tuple[LLMEngine, _Shape]:
    engine = LLMEngine.from_engine_args(_engine_args(model_dir, config))
    try:
        engine.set_weight_version(str(version))
        return engine, _shape_of(model_dir, engine.vllm_config)
    except Exception:
        engine.engine_core.shutdown()
        raise


def _update(engine: LLMEngine, tensors: Sequence[tuple[str, torch.Tensor]], version: int) -> float:
    """vLLM's four phases; returns the seconds without a token. An error here means a half-loaded model."""
    began = time.monotonic()
    engine.collective_rpc("start_weight_update")
    engine.collective_rpc("update_weights", kwargs={"update_info": {"tensors": tensors}})
    engine.collective_rpc("finish_weight_update")
    engine.set_weight_version(str(version))
    engine.reset_prefix_cache(reset_running_requests=True)
    return time.monotonic() - began


def _shape_of(model_dir: Path, engine_config: VllmConfig) -> _Shape:
    """The shape, read from the configuration without loading weights."""
    config = AutoConfig.from_pretrained(model_dir, local_files_only=True)
    # Where vLLM 0.32 has no code of its own for an architecture (OLMo 2), it rewrites transformers' class in this
    # process, which can then be made under the engine's configuration only.
    with set_current_vllm_config(engine_config), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return _Shape({name: tuple(p.shape) for name, p in model.named_parameters()}, config.vocab_size)


def _params(sampling: Sampling, kind: RequestOutputKind) -> SamplingParams:
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop_token_ids=list(sampling.stop_token_ids),
        ignore_eos=True,  # only the request says what ends it
        logprobs=sampling.top_logprobs,
        flat_logprobs=True,
        detokenize=False,
        output_kind=kind,
    )


def _completion(output: CompletionOutput, index: int) -> Completion:
    spans = output.weight_versions or []
    logprobs = cast("Any", output.logprobs)
    return Completion(
        index=index,
        token_ids=tuple(output.token_ids),
        logprobs=tuple(logprobs.logprobs[start] for start in logprobs.start_indices),
        finish_reason=cast("FinishReason", output.finish_reason),
        weight_version=int(spans[-1].version),
        first_weight_version=int(spans[0].version),
    )


def _delta(output: CompletionOutput, top: int, version: int) -> TokenDelta:
    flat = cast("Any", output.logprobs)
    starts = flat.start_indices
    return TokenDelta(
        token_ids=tuple(output.token_ids),
        logprobs=tuple(flat.logprobs[start] for start in starts),
        top_logprobs=tuple(_alternatives(flat, start, top) for start in starts),
        finish_reason=cast("FinishReason | None", output.finish_reason),
        weight_version=version,
    )


def _alternatives(flat: Any, start: int, top: int) -> tuple[TopLogprob, ...]:
    """The `top` most likely tokens of one position; vLLM lists the drawn token before them."""
    ranked = range(start + 1, start + 1 + top)
    return tuple(TopLogprob(flat.token_ids[i], flat.logprobs[i]) for i in ranked)
