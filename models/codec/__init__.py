"""Neural speech codec: 16 kHz, 20 ms frames, 1.5 to 6 kbit/s."""
