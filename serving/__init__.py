"""HTTP on Ray Serve: the OpenAI-compatible API, the probe API and page, the admin API."""
