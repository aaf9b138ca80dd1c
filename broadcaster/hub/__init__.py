"""This process's connections and subscriptions; synchronous by rule."""
