"""The Wyoming protocol (github.com/OHF-Voice/wyoming), by which Home Assistant speaks to recognisers."""
