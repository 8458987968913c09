"""The view Coefficients: M itself, a box to drag over it, and where its energy lies."""
