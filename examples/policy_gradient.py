"""Reinforcement learning on features: an agent that sees through the front-end learns to keep fixation.

The task is a short memory-guided saccade. Looking away before the fixation spot goes off costs 0.1 a step; looking at one
of the locations afterwards ends the trial, with a reward if it is the right one. The policy is linear in the features and
has no memory, so it can learn when to look and not where to. It learns by REINFORCE (Williams 1992, Machine Learning 8:
229-256): after each trial, actions become more likely by how much better things went from there than they used to.

python examples/policy_gradient.py
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np

from cordstasks import tasks
from cordstasks.observation import FrontEndObservation

TASK = {"locations": (0.0, 90.0, 180.0, 270.0), "fixation": 400.0, "cue": 200.0, "delays": (400.0,), "response": 300.0}
DT = 100.0  # ms


def learn(trials: int, *, seed: int = 0, rate: float = 0.1, report: int = 50) -> list[float]:
    """Train an agent; returns, for each trial, the fraction of steps before the response in which it kept fixation."""
    tasks.register()
    environment = FrontEndObservation(gymnasium.make("cordstasks/MemorySaccade-v0", dt=DT, **TASK))
    rng = np.random.default_rng(seed)
    features, _ = environment.reset(seed=seed)
    mean, scale = features.mean(), features.std() * np.sqrt(len(features))
    weights = np.zeros((environment.action_space.n, len(features) + 1))
    baseline = np.zeros(int(sum(TASK[name] for name in ("fixation", "cue", "response")) + TASK["delays"][0]) // int(DT))
    kept, earned = [], []
    for trial in range(trials):
        steps, rewards, over = [], [], False
        early = environment.unwrapped.start_ind["response"]
        while not over:
            seen = np.append((features - mean) / scale, 1.0)
            logits = weights @ seen
            chances = np.exp(logits - logits.max())
            chances /= chances.sum()
            action = int(rng.choice(len(chances), p=chances))
            steps.append((seen, chances, action))
            features, reward, _, _, info = environment.step(action)
            rewards.append(reward)
            over = info["new_trial"]
        ahead = np.cumsum(rewards[::-1])[::-1]  # what was still to come at each step
        for (seen, chances, action), better in zip(steps, ahead - baseline[: len(ahead)], strict=True):
            weights += rate * better * np.outer(np.eye(len(chances))[action] - chances, seen)
        baseline[: len(ahead)] += 0.05 * (ahead - baseline[: len(ahead)])
        kept.append(float(np.mean([action == 0 for _, _, action in steps[:early]])))
        earned.append(sum(rewards))
        if (trial + 1) % report == 0:
            print(
                f"trial {trial + 1:4d}: fixation kept in {np.mean(kept[-report:]):6.1%} of steps, "
                f"reward {np.mean(earned[-report:]):+.2f} a trial, {environment.simulated} front-end steps simulated",
                flush=True,
            )
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learn to keep fixation by policy gradient on the front-end's features.")
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    learn(options.trials, seed=options.seed)
