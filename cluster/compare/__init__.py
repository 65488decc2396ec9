"""Two or more runs side by side: what their recipes differ in, what they scored on the same problems, what it cost."""
