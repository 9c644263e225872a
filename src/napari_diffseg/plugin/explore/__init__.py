"""Reading a result: what is under the pointer, measurements, comparisons, one slice sampled again."""
