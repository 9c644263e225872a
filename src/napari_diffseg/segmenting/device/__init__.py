"""Where and how a network is evaluated: device, precision, memory, threads, reproducible bytes."""
