"""What an operator deploys: Kubernetes manifests and the Grafana dashboard."""
