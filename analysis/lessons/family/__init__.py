"""The family of methods that fine-tune by the SVD of W: where each may change W, by how many numbers, and how."""
