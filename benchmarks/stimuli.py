"""Frames of random-dot motion drawn a second, on one core.

python benchmarks/stimuli.py
"""

from __future__ import annotations

import argparse
import time

from cordstasks.utils.command_line import at_least_one


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames of random-dot motion drawn a second, on one core.")
    parser.add_argument("--pixels", type=int, nargs="+", default=[64, 224], help="pixels along each side (default 64 224)")
    parser.add_argument("--duration", type=float, default=500.0, metavar="MS", help="of each movie (default 500)")
    parser.add_argument("--movies", type=int, default=20, help="movies in each timing (default 20)")
    parser.add_argument("--repeats", type=at_least_one, default=10, help="timings, of which the best counts (default 10)")
    arguments = parser.parse_args()

    import numpy as np

    from cordstasks.stimuli import Display, RandomDots, random_dots
    from cordstasks.utils.measured import machine_line, note_number

    dots = RandomDots(coherence=0.256, direction=30.0)
    generators = np.random.default_rng(0).spawn(arguments.movies)
    print(machine_line())
    print(f"{'pixels':>6}  {'frames':>6}  {'frames/s':>9}  {'median':>9}")
    for pixels in arguments.pixels:
        display = Display(pixels)
        rates = []
        for _ in range(arguments.repeats):
            # Processor time: drawing runs on one core, and a busy machine is no fault of the code.
            start = time.process_time()
            frames = sum(
                len(random_dots(dots, display, duration_ms=arguments.duration, rng=rng).frames) for rng in generators
            )
            rates.append(frames / (time.process_time() - start))
        print(f"{pixels:>6}  {frames:>6}  {max(rates):>9,.0f}  {np.median(rates):>9,.0f}")
        note_number(f"random dots at {pixels} px", float(np.median(rates)), "frames per s")


if __name__ == "__main__":
    main()
