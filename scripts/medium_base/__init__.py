"""A base policy for a MuJoCo task from nothing: agent.py (PPO) -> rollouts.py -> cloning -> measurement (stages.py)."""
