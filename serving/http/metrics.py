"""The Prometheus metrics of one replica. Names and labels only; no label ever holds a key, a prompt or a free text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """All metrics of the server, in a registry of their own (several servers may live in one test process)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers by route and status.", "route", "status")
        self.latency = self._histogram("request_seconds", "From the first byte in to the last byte out.", "route")
        self.refusal = self._histogram("refusal_seconds", "Time to an answer of 429 or 503.")
        self.queue_wait = self._histogram("queue_seconds", "Wait for a place in the engines.")
        self.first_token = self._histogram("first_token_seconds", "From the request to its first token, in streams.")
        self.inter_token = self._histogram("inter_token_seconds", "Between two deliveries of tokens, in streams.")
        self.tokens = self._counter("tokens", "Tokens by kind: prompt or completion.", "kind")
        kinds = "Judged texts: verified (where no steps are judged: right), answer_only or wrong."
        self.judgements = self._counter("judgements", kinds, "judgement")
        self.swaps = self._counter("model_loads", "Checkpoint loads by result.", "result")
        self.aborted = self._counter("aborted", "Generations ended early: disconnect, deadline or drain.", "cause")
        self.loaded = Gauge("interplay_models_loaded", "Checkpoints in memory.", registry=self.registry)
        self.running = Gauge("interplay_sequences_running", "Places taken in the engines.", registry=self.registry)
        self.queued = Gauge("interplay_requests_queued", "Requests that wait.", registry=self.registry)

    def text(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"interplay_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(f"interplay_{name}", help_text, labels, buckets=_FAST, registry=self.registry)
