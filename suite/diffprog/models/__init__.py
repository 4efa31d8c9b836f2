"""A user's own model as a task: a folder with ``task.py``, which draws inputs, and a file a backend with ``loss``.

docs/own-tasks.md is the page to read. Nothing here imports a framework, but for ``on_torch`` and ``on_jax``.
"""
