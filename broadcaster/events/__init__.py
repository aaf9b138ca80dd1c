"""Events as the backend raises them."""
