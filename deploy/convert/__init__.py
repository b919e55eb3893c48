"""From an exported model to MindSpore Lite's, for the CPU or an Ascend card."""
