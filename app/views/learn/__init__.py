"""The chapters of Learn, one file each: its title, what a teacher should know, and what it shows."""
