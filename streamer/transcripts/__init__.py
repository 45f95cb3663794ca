"""Transcripts of whole files, and how they are written: text, JSON, subtitles."""
