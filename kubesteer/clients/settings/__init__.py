"""Reading settings: what a YAML file and variables give, where it stands, and how it fits. Holds no setting itself."""
