"""What web applications use: results as they arrive, and uploads that outlive their request."""
