"""How good the learning is: a seeded simulation on the real engine, the real judge, columns and reward table."""
