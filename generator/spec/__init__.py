"""The spec: model, loader with positions, rules, environments, JSON Schema."""
