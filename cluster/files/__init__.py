"""Files that the commands read and write: JSONL, Parquet, problems, traces."""
