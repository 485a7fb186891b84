"""What was tried, how it ended, and how long it took: a line each, and a last line that says how many."""

import contextlib
import sys
import time
import traceback

from .kube import Failure


class Report:
    """Passed and failed, told as it goes."""

    def __init__(self):
        self.passed, self.failed, self.begun = 0, [], time.monotonic()

    @contextlib.contextmanager
    def shows(self, part, what, story=None):
        """What happens inside is to work. A failure is told, and the part goes on."""
        begun, notes = time.monotonic(), []
        try:
            yield notes.append
        except Exception as error:
            self.failed.append(f"{part}: {what}")
            self._say(part, what, "FAILED", begun, [str(error)])
            if not isinstance(error, Failure):
                traceback.print_exc()
            if story:
                with contextlib.suppress(Exception):
                    print(story(), file=sys.stderr, flush=True)
        else:
            self.passed += 1
            self._say(part, what, "ok", begun, notes)

    def _say(self, part, what, how, begun, notes):
        about = "; ".join(str(note) for note in notes)
        print(f"{part:<9} {what:<58} {how:<6} {time.monotonic() - begun:6.1f} s  {about}", flush=True)

    def end(self):
        """The last line; the exit code."""
        print(f"{self.passed} passed, {len(self.failed)} failed, {(time.monotonic() - self.begun) / 60:.1f} minutes")
        for what in self.failed:
            print(f"  failed: {what}", file=sys.stderr)
        return 1 if self.failed else 0


def require(condition, otherwise):
    """What has to be so."""
    if not condition:
        raise Failure(otherwise)
