"""Training many recurrent networks at once on abstract tasks."""
