"""The family of a user's own code: an object by import path, whose promises are tried before anything starts."""
