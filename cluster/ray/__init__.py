"""Ray: joining a cluster, starting a private one, jobs, packaging, environment, resources."""
