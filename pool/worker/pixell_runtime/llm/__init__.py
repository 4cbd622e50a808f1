"""What calls to language models consume, counted without code changes: `openai` and `anthropic`.

Enters: nothing until one of these is imported. Leaves: `usage.record` for every answer in which the provider says
what it has cost. `watch.py` is where that begins.
"""
