"""What can be held and chosen: securities, chains, slices, universes and what is subscribed."""
