"""How fast a model answers: throughput and latency under loads, in MindSpore Lite and in what it is compared with."""
