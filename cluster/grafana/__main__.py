"""Prints the dashboard as JSON."""

import json

from cluster.grafana import dashboard

print(json.dumps(dashboard(), indent=1))
