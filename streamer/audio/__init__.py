"""Audio in and out: PCM bytes, resampling, framing into chunks, files. The only room of soundfile and soxr."""
