"""Makes base policies by cloning a LeRobotDataset: smolvla.py or mlp.py, both trained by cloning.py.

Only for the bundled SmolVLA: small_smolvla.py (its architecture) and ground.py (its VLM's training).
"""
