"""The network: its configuration, how to read one off a file of weights, and the U-Net itself.

`config` and `infer` need no torch.
"""
