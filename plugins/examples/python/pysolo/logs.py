"""Logs: one line of JSON each on stderr, in the keys of hclog (rule L7).

The broker turns them back into its own log. A line is written by a thread of its
own from a bounded queue, so that a broker that does not read, or is dead, never
stops the process: lines are dropped instead.
"""

import datetime
import json
import os
import queue
import sys
import threading

_lines = queue.Queue(maxsize=1024)
_LEVELS = ("trace", "debug", "info", "warn", "error")
_lowest = _LEVELS.index("info")


def start():
    """Begins to write; the level comes from the broker."""
    global _lowest
    level = os.environ.get("QUORATE_PLUGIN_LOG_LEVEL", "info").lower()
    _lowest = _LEVELS.index(level) if level in _LEVELS else _lowest
    threading.Thread(target=_write, name="logs", daemon=True).start()


def _write():
    broken = False
    while True:
        line = _lines.get()
        try:
            if not broken:
                sys.stderr.write(line)
                sys.stderr.flush()
        except OSError:
            broken = True  # nobody reads any more; SIGPIPE is ignored by Python
        finally:
            _lines.task_done()


def flush(seconds):
    """Waits until what is queued is written, but not long."""
    waiter = threading.Thread(target=_lines.join, daemon=True)
    waiter.start()
    waiter.join(seconds)


def log(level, message, **fields):
    """Logs a constant sentence with data in fields."""
    if _LEVELS.index(level) < _lowest:
        return
    now = datetime.datetime.now().astimezone().isoformat(timespec="microseconds")
    line = {"@level": level, "@message": message, "@timestamp": now, "@module": "python-solo", **fields}
    try:
        _lines.put_nowait(json.dumps(line, default=str) + "\n")
    except queue.Full:
        pass
