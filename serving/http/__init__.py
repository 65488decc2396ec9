"""Everything about HTTP that is no route: the guard, keys, admission, errors, streams, logs, metrics."""
