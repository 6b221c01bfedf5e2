"""Speed, measured side by side: `python -m tests.bench`. Nothing here is imported by kubesteer or its tests."""
