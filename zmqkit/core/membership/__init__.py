"""Who is there: processes, the roles in them, and what they tell of others."""
