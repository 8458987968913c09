"""A loaded model that answers: predictions, generated text, the effect of an edit."""
