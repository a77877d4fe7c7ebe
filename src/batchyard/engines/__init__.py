"""Who answers: one file per kind of engine."""
