"""What every room stands on: values, events, bus, cache, factory, settings, journal, clock and the LEAN gateway."""
