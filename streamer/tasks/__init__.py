"""Host loops, one per task and never one per model family: they turn audio into steps and step outputs into events."""
