"""Everything about HTTP that is not a route: the guard, keys, admission, errors, streams, logs, metrics."""
