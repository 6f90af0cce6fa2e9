"""The broker's life is the plugin's (rule L4), and signals are not for it (L5)."""

import os
import signal
import threading
import time

_POLL = 0.2


def ignore_signals():
    """A Ctrl-C and systemd's SIGTERM are for the broker, which then says Stop."""
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(s, lambda *_: None)


class Lifeline:
    """Calls gone(why) once the broker counts as dead.

    That is EOF on the pipe, another parent, or no call for longer than the lease.
    """

    def __init__(self, gone):
        self._gone, self._once = gone, threading.Lock()
        self._lease, self._last_call = 0.0, time.monotonic()
        fd = os.environ.get("QUORATE_PLUGIN_HOST_FD", "")
        if fd.isdigit() and int(fd) > 2:
            os.set_inheritable(int(fd), False)
            self._start(self._watch_pipe, int(fd))
        self._start(self._watch_parent, os.getppid())

    def called(self):
        """Notes a call of the broker."""
        self._last_call = time.monotonic()

    def lease(self, seconds):
        """From now on silence for so long means death; 0 means no lease."""
        self.called()
        self._lease = seconds

    def _start(self, watch, argument):
        threading.Thread(target=watch, args=(argument,), name="lifeline", daemon=True).start()

    def _dead(self, why):
        if self._once.acquire(blocking=False):
            self._gone(why)

    def _watch_pipe(self, fd):
        try:
            while os.read(fd, 1):  # the broker never writes
                pass
        except OSError:
            pass
        self._dead("its end of the pipe was closed")

    def _watch_parent(self, parent):
        last = time.monotonic()
        while True:
            time.sleep(_POLL)
            now = time.monotonic()
            if os.getppid() != parent:
                return self._dead("the parent process is another one")
            if now - last > 5 * _POLL:
                self.called()  # this process stood still: the broker's calls are waiting
            last = now
            if self._lease and now - self._last_call > self._lease:
                return self._dead("no call came for longer than the lease")
