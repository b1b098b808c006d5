"""A predicted recording: its beats, episodes, burden and trends."""
