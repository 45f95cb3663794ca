"""Audio in and out: PCM, compressed streams, resampling, framing, files. The only room of soundfile, soxr and av."""
