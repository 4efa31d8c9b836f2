"""Plans cells, starts workers, turns whatever happens into stated outcomes, and writes records as they come."""
