"""Who computes what: images divided among threads, or, for few images, areas and chunks of time.

Compiled code holds no lock of the interpreter, so Python's own threads do. They are started for each call and end with
it, so that nothing is left in a process that forks, and torch's threads are left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

Work = Callable[[int, int, int], None]
"""Called with an area, the steps done before and the number of steps to do now."""


def side_by_side(work: Callable[[int], None], threads: int) -> None:
    """Call `work` with each number below `threads`, in as many threads; the first error is raised when all have ended."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # also Ctrl-C, which must wait for the others
            errors.append(error)

    others = [threading.Thread(target=guarded, args=(number,)) for number in range(1, threads)]
    for other in others:
        other.start()
    guarded(0)
    for other in others:
        other.join()
    if errors:
        raise errors[0]


def chunks(steps: int, most: int) -> list[int]:
    """Lengths of at most `most` that add up to `steps` and differ by one at most."""
    count = -(-steps // most)
    return [steps * (number + 1) // count - steps * number // count for number in range(count)]


def in_order(work: Work, depth: int, steps: int, most: int) -> None:
    """All areas through a chunk, one after the other, then all of them through the next."""
    done = 0
    for length in chunks(steps, most):
        for area in range(depth):
            work(area, done, length)
        done += length


class Wavefront:
    """Areas and chunks as jobs that threads take when all that they need is there.

    Area l may take steps t + 1 to t + k when the areas that it reads, l - 1 and l - 2, have taken t + k - 1, and when those
    that read it, l + 1 and l + 2, no longer need what is overwritten in the ring. Results do not depend on who comes first.

    Parameters
    ----------
    work : callable
        Does a job.
    depth, steps, slots : int
        Numbers of areas, of steps to take, and of states that are kept of each area.
    most : int
        Longest chunk.
    """

    def __init__(self, work: Work, depth: int, steps: int, slots: int, most: int) -> None:
        self.work, self.depth, self.slots = work, depth, slots
        self.lengths = chunks(steps, most)
        self.steps = steps
        self.taken = [0] * depth  # steps
        self.jobs = [0] * depth
        self.busy = [False] * depth
        self.failed = False
        self.changed = threading.Condition()

    def run(self, threads: int) -> None:
        """Do all jobs in so many threads."""
        side_by_side(self._worker, min(threads, self.depth))

    def _ready(self, area: int) -> bool:
        if self.busy[area] or self.taken[area] == self.steps:
            return False
        end = self.taken[area] + self.lengths[self.jobs[area]]
        below = [self.taken[other] for other in (area - 1, area - 2) if other >= 0]
        above = [self.taken[other] for other in (area + 1, area + 2) if other < self.depth]
        return all(taken >= end - 1 for taken in below) and all(taken > end - self.slots for taken in above)

    def _worker(self, number: int) -> None:
        try:
            self._jobs_in_turn()
        except BaseException:  # also Ctrl-C between two jobs: nobody waits for a job that never ends
            with self.changed:
                self.failed = True
                self.changed.notify_all()
            raise

    def _jobs_in_turn(self) -> None:
        while True:
            with self.changed:
                ready = [area for area in range(self.depth) if self._ready(area)]
                while not ready and not self._over():
                    self.changed.wait()
                    ready = [area for area in range(self.depth) if self._ready(area)]
                if self._over():
                    return
                area = ready[-1]  # the highest, so that states are read while they are in the cache
                self.busy[area] = True
            length = self.lengths[self.jobs[area]]
            self.work(area, self.taken[area], length)
            with self.changed:
                self.busy[area] = False
                self.jobs[area] += 1
                self.taken[area] += length
                self.changed.notify_all()

    def _over(self) -> bool:
        return self.failed or all(taken == self.steps for taken in self.taken)
