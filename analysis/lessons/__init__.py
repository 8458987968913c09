"""The mathematics of the lessons: small, exact, and without Streamlit."""
