"""The HTTP application: every route of the server, in one place.

All paths but `/healthz`, `/` and `/static/*` need `Authorization: Bearer KEY`. Scopes nest: admin > probe > read.
Errors, everywhere: `{"error": {"message", "type", "param", "code"}}` and the header `x-request-id`.

    read   GET  /readyz  /version  /metrics (Prometheus text)  /openapi.json
           GET  /v1/limits                -> schemas.Limits
           GET  /v1/models                -> schemas.ModelList        GET /v1/models/{id} -> schemas.ModelCard
    probe  POST /v1/completions           openai_schemas.CompletionRequest -> CompletionAnswer | SSE
           POST /v1/chat/completions      openai_schemas.ChatRequest -> ChatAnswer | SSE
           POST /v1/probe/problems        probe_schemas.ProblemRequest -> ProblemAnswer (graph with layer and order)
           POST /v1/probe/verify          VerifyRequest -> VerifyAnswer
           POST /v1/probe/solve           SolveRequest -> SSE | SolveAnswer
           POST /v1/probe/continue        ContinueRequest -> SSE | SolveAnswer
           POST /v1/probe/compare         CompareRequest -> CompareAnswer
           POST /v1/probe/pass-at-k       PassAtKRequest -> SSE | PassAtKAnswer
    admin  POST /v1/admin/load, /unload   LoadRequest -> LoadAnswer
           POST /v1/admin/alias           AliasRequest -> AliasAnswer
           POST /v1/admin/canary          CanaryRequest -> CanaryAnswer     GET /v1/admin/canary -> CanaryAnswer
    open   GET  /healthz -> Live          GET / (the page)          GET /static/* (its files)

Streams of the probe API are server-sent events with a name (`event: NAME`, `data: JSON` on one line):

    solve, continue   start StartEvent, then token TokenEvent* and step StepEvent* as they happen, then done SolveAnswer
    pass-at-k         start PassStart, then pairs of sample SampleEvent and estimate EstimateEvent, done PassAtKAnswer
    any               error ErrorEvent: the last event of a stream that failed

After `done` comes the unnamed `data: [DONE]`; after `error` nothing. A comment line `: beat` every 10 s keeps
connections open. The streams of `/v1/completions` and `/v1/chat/completions` are OpenAI's (unnamed events).
"""

from __future__ import annotations
