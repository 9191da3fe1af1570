"""The modelled option market: real daily history, and minutes, surfaces, listings and quotes modelled on top of it."""
