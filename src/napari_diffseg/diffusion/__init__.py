"""Noise schedules, the denoiser's contract, and the samplers that go down a schedule with it.

`schedule` needs numpy only.
"""
