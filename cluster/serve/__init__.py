"""Starts the HTTP server: on a private Ray, on a cluster, or as a Serve application."""
