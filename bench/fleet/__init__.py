"""A fleet of builders as discrete events: what clients wait for and what it costs, for given arrivals of builds."""
