"""Prints the dashboard as JSON."""

import json

from cluster.deploy.grafana import dashboard

print(json.dumps(dashboard(), indent=1))
