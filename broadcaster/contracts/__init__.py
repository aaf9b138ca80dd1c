"""What drivers promise: Protocol classes and value types, no logic."""
