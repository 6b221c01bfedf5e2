"""HTTP routes: the verbs, and the ops port."""
