"""From written English to the symbols of a voice: normalisation, pieces, pronunciation."""
