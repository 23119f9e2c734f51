"""Everything that uses Ray."""

import os

# Read as Ray is imported: by itself Ray repeats a task that was killed for memory for ever, without a word.
os.environ.setdefault("RAY_task_oom_retries", "5")
