"""What a saved adapter tells those who find it: that PEFT loads it once `svft` is imported.

PEFT 0.21.2 finds methods in its own dictionaries alone, by no entry point and no name in the file, so that an adapter
cannot bring its method along. Without the import, PEFT's error is `KeyError: 'SVFT'`.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = "svft-explorer"
HOW_TO_LOAD = f"""\
This is an SVFT adapter. PEFT loads it once the package `{PACKAGE}` is imported (without: `KeyError: 'SVFT'`):

```python
import svft
model = PeftModel.from_pretrained(base_model, "this directory, or its name on the Hub")  # from peft import PeftModel
```
"""
_HEADING = "## How to Get Started with the Model\n\nUse the code below to get started with the model.\n\n"
_PLACE = f"{_HEADING}[More Information Needed]\n"  # in the template that PEFT fills


def tell_how_to_load(directory: Path) -> None:
    """Write into a saved adapter's README how it is loaded, if that does not stand there yet."""
    file = directory / "README.md"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if "import svft" in text:
        return
    if _PLACE in text:
        text = text.replace(_PLACE, f"{_HEADING}{HOW_TO_LOAD}")
    else:
        text = f"{text.rstrip()}\n\n## How to load\n\n{HOW_TO_LOAD}".lstrip()
    file.write_text(text, encoding="utf-8")
