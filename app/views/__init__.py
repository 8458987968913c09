"""Parts of pages: each takes the selection, asks `analysis` for one table or two, and shows them."""
