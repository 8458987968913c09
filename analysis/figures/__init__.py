"""One figure, one function, one file: tables in, a Plotly figure out; for running trials an Altair chart (see `live`).

Every function takes tables of `analysis` and a keyword `theme`, and depends on nothing else: the same table gives
the same figure, so that a selection made in it survives a rerun. What stands around a figure is in
``figure.layout.meta``, a dict:

- ``alt``: alternative text, computed from the table;
- ``caption``: one plain sentence that says what to look for;
- ``formula``: LaTeX without dollar signs;
- ``limit`` and ``clipped``, for figures with a colour scale clipped at the 99th percentile: where it ends, and how
  many of the drawn numbers lie beyond.

Figures that can be clicked carry an invisible scatter of squares named "select" above their heatmap, because
Plotly's heatmap reports no click. Its ``customdata`` begins with what was clicked: ``[name, …]`` in
`coefficient_wall` and `layer_map`, ``[i, j, …]`` in `coefficient_strip` and `coefficient_square`.
"""
