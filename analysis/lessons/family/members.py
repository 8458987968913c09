"""The members of the family: region, formula and count of each, and what it can and cannot do.

Counts and regions of those that PEFT has are tested against PEFT; `Member.checked` says what the others were checked
against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.lessons.family import drawing
from analysis.lessons.family.drawing import FROD_RATE, TINYLORA_U, Draw, of_m, on_region
from analysis.lessons.family.regions import OFF_DIAG, REGIONS
from analysis.models.naming import places
from analysis.training.relatives import ADAMSS_CLUSTERS, frod_entries_at
from svft_bands import band_size

Count = Callable[[int, int, int], int]  # (out, in, r) -> a number


@dataclass(frozen=True)
class Member:
    """One method.

    Attributes:
        title: For people.
        paper: Its number on arXiv.
        region: Name in `REGIONS`: what its update is confined to.
        formula: LaTeX.
        rule: What it trains for each matrix, as a formula for people.
        count: That number.
        rank: The most that the rank of ΔW can be.
        says: One or two sentences: what it can do, and what it cannot.
        draw: One of its updates.
        checked: What region and count were checked against.
        turns: Whether singular vectors can turn; a diagonal M only stretches.
        shared: Whether its numbers serve all matrices of a "kind", all of the "model", or ("") one matrix.
        method: The method of Race and Budgets that it is, or whose M it makes in other coordinates; "" without one.
        kind: What its adapters are recognised as when they are opened; "" if they are not.
        why: Why it is not opened, counted or raced, in a sentence; "" if it is.
    """

    title: str
    paper: str
    region: str
    formula: str
    rule: str
    count: Count
    rank: Count
    says: str
    draw: Draw
    checked: str
    turns: bool = True
    shared: str = ""
    method: str = ""
    kind: str = ""
    why: str = ""


def _n(out: int, in_: int, r: int) -> int:
    return min(out, in_)


def _r(out: int, in_: int, r: int) -> int:
    return r


def _2r(out: int, in_: int, r: int) -> int:
    return min(2 * r, out, in_)


def _band(out: int, in_: int, r: int) -> int:
    return band_size(min(out, in_), OFF_DIAG)


def _low_rank(out: int, in_: int, r: int) -> int:
    return r * (out + in_)


def _pattern(
    name: str,
    region: str,
    says: str,
    *,
    size: str = "",
    rule: str = "as many as the band",
    count: Count = _band,
) -> Member:
    """Return SVFT with one of its patterns: each coefficient on Ω is trained by itself."""
    formula = r"W' = U(\Sigma + M)V^\top,\quad M_{ij} = 0 \text{ off } \Omega"
    turns = region not in ("diagonal", "leading diagonal")
    return Member(
        f"SVFT {name}{size}", "2405.19597", region, formula, rule, count, _n if name != "block" else _r, says,
        on_region(region), "this project", turns=turns, method=name, kind="SVFT",
    )  # fmt: skip


def _start(
    title: str, paper: str, formula: str, says: str, draw: Draw, rank: Count = _2r, checked: str = "",
    method: str = "lora", kind: str = "", why: str = "",
) -> Member:  # fmt: skip
    """Return a LoRA of which the start alone is spectral."""
    return Member(
        title,
        paper,
        "everything",
        formula,
        "r(out + in)",
        _low_rank,
        rank,
        says,
        draw,
        checked or "PEFT",
        method=method,
        kind=kind,
        why=why,
    )


_OWN_FILES = "Files of its own code are not read, but for merged checkpoints."
_NOT_IN_PEFT = "PEFT has none, and files of its own code are not read, but for merged checkpoints."
_START_OF_DATA = (
    "Its start is taken out of the base, follows from data, and is in no file: saved as a plain LoRA (PEFT’s "
    "path_initial_model_for_weight_conversion) it opens."
)
_STARTS_AT = r"\Delta W = BA - B_0A_0,\quad "

MEMBERS: dict[str, Member] = {
    "plain": _pattern(
        "plain", "diagonal", "Changes any singular value, even its sign; turns no singular vector.", rule="n", count=_n
    ),
    "svf": Member(
        "SVF (Transformer²)", "2501.06252", "diagonal", r"M_{ii} = \sigma_i\,(z_i - 1)", "n", _n, _n,
        "SVFT plain in other units: zᵢ counts in parts of σᵢ, so where σᵢ > 0 both reach the same W′.",
        of_m(drawing.svf), "its paper", turns=False, method="plain", why=_OWN_FILES,
    ),
    "svdiff": Member(
        "SVDiff", "2303.11305", "diagonal", r"M_{ii} = \max(\sigma_i + \delta_i,\, 0) - \sigma_i", "n", _n, _n,
        "SVFT plain with a floor: a singular value can reach 0, and never changes its sign.",
        of_m(drawing.svdiff), "public code", turns=False, method="plain", why=_OWN_FILES,
    ),
    "vectorfit": Member(
        "VectorFit", "2503.19530", "diagonal", r"M = \operatorname{diag}(\delta),\quad b' = b + \Delta b", "n + out",
        lambda out, in_, r: min(out, in_) + out, _n,
        "SVFT plain, and the biases of the same layers beside it, which no M contains.",
        on_region("diagonal"), "its authors’ description", turns=False, method="plain", why=_OWN_FILES,
    ),
    "svfit": Member(
        "SVFit", "2409.05926", "leading diagonal", r"M_{ii} = \delta_i \text{ for } i \le r", "r", _r, _r,
        "SVFT plain on the r strongest directions: all others keep their weight.",
        on_region("leading diagonal"), "its paper", turns=False, method="plain", why=_OWN_FILES,
    ),
    "banded": _pattern(
        "banded", "band", "Mixes neighbouring directions; its rank stays open up to n.", size=" d=2",
        rule="n(2d+1) − d(d+1)",
    ),
    "random": _pattern("random", "scattered", "Mixes any two directions that the draw has paired, and no others."),
    "top_k": _pattern(
        "top_k", "scattered",
        "Takes the entries of largest |uᵢᵀvⱼ|, which exist on square weights only; elsewhere it is random.",
    ),
    "chosen": _pattern(
        "chosen", "scattered", "Takes the entries that the gradient on training examples ranks highest."
    ),
    "block": _pattern(
        "block", "leading square", "Mixes the r strongest directions freely; its rank is r at most.",
        rule="r²", count=lambda out, in_, r: r * r,
    ),
    "lora_xs": Member(
        "LoRA-XS", "2405.17604", "leading square", r"\Delta W = U_r\,R\,\Sigma_r V_r^\top,\quad M = R\,\Sigma_r", "r²",
        lambda out, in_, r: r * r, _r,
        "SVFT block in other units: column j counts in parts of σⱼ.",
        of_m(drawing.lora_xs), "its authors’ code", method="block", why=_OWN_FILES,
    ),
    "tinylora": Member(
        "TinyLoRA", "2602.04118", "leading square",
        r"M = \sqrt{\Sigma_r}\,\Big(\sum_k v_k P_k\Big)\sqrt{\Sigma_r}",
        f"{TINYLORA_U} in all", lambda out, in_, r: TINYLORA_U, _r,
        f"{TINYLORA_U} numbers for the whole model: they weigh fixed random squares Pₖ, other ones in each matrix. "
        "Raced with u numbers for each matrix.",
        of_m(drawing.tinylora), "PEFT", shared="model", method="tinylora", kind="TinyLoRA",
    ),
    "psoft": Member(
        "PSOFT", "2505.11235", "leading square",
        r"M = \Sigma_r\big(\operatorname{diag}(b)\,R\,\operatorname{diag}(a) - I\big),\quad R^\top R = I",
        "r(r−1)/2 + 2r", lambda out, in_, r: r * (r - 1) // 2 + 2 * r, _r,
        "Rotates the r strongest directions and scales both sides; cannot make most other M of that square.",
        of_m(drawing.psoft), "PEFT", method="psoft", kind="PSOFT",
    ),
    "spectral_r": Member(
        "Spectral Adapter R", "2405.13952", "leading square",
        r"M = R_U\,\Sigma_r\operatorname{diag}(c)\,R_V^\top - \Sigma_r", "2r² + r",
        lambda out, in_, r: 2 * r * r + r, _r,
        "Rotates the r strongest vectors on both sides. Its code trains two r×r squares, whose skew halves alone act: "
        "together with c that is every M of the square near 0, with twice the numbers.",
        of_m(drawing.spectral_rotation), "its authors’ code", why=_NOT_IN_PEFT,
    ),
    "ssvd": Member(
        "SSVD", "2509.02830", "leading square", r"M = (\Sigma_r + \operatorname{diag}(\delta))\,R - \Sigma_r",
        "r(r−1)/2 + r + 1", lambda out, in_, r: r * (r - 1) // 2 + r + 1, _r,
        "Rotates the r strongest right vectors only; left ones stay. ESPnet’s code takes the first step of the "
        "rotation, I − 2K, and trains one gate.",
        of_m(drawing.ssvd), "ESPnet’s code", why=_NOT_IN_PEFT,
    ),
    "osf": Member(
        "OSF", "2504.07097", "trailing square", r"W' = U_r\Sigma_rV_r^\top + U'\Sigma'V'^\top",
        "(out + in + 1)(n − r)", lambda out, in_, r: (out + in_ + 1) * (min(out, in_) - r),
        lambda out, in_, r: min(out, in_) - r,
        "Keeps the r strongest directions and trains all others. PEFT projects the gradient to that end: steps of SGD "
        "stay inside, Adam’s rescaled ones do not.",
        drawing.osf, "PEFT", kind="OSF",
        why="PEFT keeps r directions of every matrix and trains n − r: one r meets no budget where n differs.",
    ),
    "pica": Member(
        "PiCa", "2505.20211", "leading columns", r"\Delta W = B\,V_r^\top", "out · r for each kind",
        lambda out, in_, r: out * r, _r,
        "Reads inputs along the r strongest right vectors, and writes anywhere; layers of one kind share B.",
        drawing.pica, "its authors’ code", shared="kind", why=_NOT_IN_PEFT,
    ),
    "adamss": Member(
        "AdaMSS", "", "leading columns", r"\Delta W_{\text{cluster } k} = B_k A_k V_r^\top",
        f"{ADAMSS_CLUSTERS}r + out",
        lambda out, in_, r: ADAMSS_CLUSTERS * r + out, lambda out, in_, r: min(r, ADAMSS_CLUSTERS, out),
        f"Outputs fall into {ADAMSS_CLUSTERS} clusters, each of which reads inputs along one direction. PEFT finds "
        "V_r by a randomised SVD, of [W b] if the layer has a bias: the region holds approximately.",
        drawing.adamss, "PEFT", method="adamss", kind="AdaMSS",
    ),
    "mica": Member(
        "MiCA", "2604.01694", "trailing rows", r"\Delta W = U_{n-r+1:n}\,A", "r · in", lambda out, in_, r: r * in_, _r,
        "Writes along the r weakest left vectors, and reads inputs from anywhere.",
        drawing.mica, "PEFT", method="mica", kind="MiCA",
    ),
    "frod": Member(
        "FRoD", "2512.23485", "left space", r"W' = U_f\,(\operatorname{diag}(\ell) + S)\,V_f^\top", "in + ⌊in²/100⌋",
        lambda out, in_, r: in_ + frod_entries_at(in_, FROD_RATE), _n,
        "Trains a diagonal and 1% of the other entries in a basis V_f that layers of one kind share: in W’s own basis "
        "all of M moves.",
        drawing.frod, "PEFT", method="frod", kind="FRoD",
    ),
    "lora": Member(
        "LoRA", "2106.09685", "everything", r"\Delta W = BA", "r(out + in)", _low_rank, _r,
        "Knows nothing of W’s SVD: any update of rank r.", drawing.low_rank, "PEFT", method="lora", kind="LoRA",
    ),
    "pissa": _start(
        "PiSSA", "2404.02948", _STARTS_AT + r"B_0A_0 = U_r\Sigma_rV_r^\top",
        "Starts at the r strongest directions, taken out of the base; training may then go anywhere.",
        drawing.moved_start(lambda s: 0), method="pissa", kind="PiSSA",
    ),
    "milora": _start(
        "MiLoRA", "2406.09044", _STARTS_AT + r"B_0A_0 = U_{n-r+1:n}\,\Sigma\,V_{n-r+1:n}^\top",
        "Starts at the r weakest directions, taken out of the base; nothing keeps training there.",
        drawing.moved_start(lambda s: s.n - s.r), checked="its paper", why=_NOT_IN_PEFT,
    ),
    "olora": _start(
        "OLoRA", "2406.01775", _STARTS_AT + r"B_0A_0 = Q_rR_r,\; W = QR",
        "Starts at r columns of the QR decomposition of W; training may go anywhere.", drawing.other_start,
        method="olora", kind="OLoRA",
    ),
    "corda": _start(
        "CorDA", "2406.05223", _STARTS_AT + r"B_0A_0 \text{ of } \operatorname{SVD}(WC)\,C^{-1}",
        "Starts at an SVD of W weighted by the covariance C of inputs; training may go anywhere.",
        drawing.other_start, checked="PEFT’s source", why=_START_OF_DATA,
    ),
    "lora_ga": _start(
        "LoRA-GA", "2407.05000", _STARTS_AT + r"B_0, A_0 \text{ of } \operatorname{SVD}(\nabla_W)",
        "Starts at an SVD of the first gradient; training may go anywhere.",
        drawing.other_start, checked="PEFT’s source", why=_START_OF_DATA,
    ),
    "eva": _start(
        "EVA", "2410.07170", r"\Delta W = BA,\quad A_0 \text{ of } \operatorname{SVD}(X),\; B_0 = 0",
        "Starts A at the strongest directions of the inputs X; the base stays whole, so the rank is r.",
        drawing.low_rank, _r, checked="PEFT’s source", kind="LoRA",
        why="Its start needs a pass over the training examples first.",
    ),
    "spectral_a": Member(
        "Spectral Adapter A", "2405.13952", "everything",
        r"W' = [U_r + A,\; U_{>r}]\,\Sigma\,[V_r + B,\; V_{>r}]^\top", "r(out + in)", _low_rank, _2r,
        "Adds to the r strongest vectors on both sides; the sums may point anywhere.",
        drawing.spectral_addition, "its authors’ code", why=_NOT_IN_PEFT,
    ),
}  # fmt: skip


def trained(member: Member, shapes: Mapping[str, tuple[int, int]], r: int) -> int:
    """Return how many numbers a method trains on the matrices of a model.

    Args:
        member: The method.
        shapes: Module name -> (out, in).
        r: Directions, at most n of the smallest.
    """
    if member.shared == "model":
        return member.count(*next(iter(shapes.values())), r)
    if member.shared == "kind":
        of_kinds = {place.kind: shapes[place.name] for place in places(list(shapes))}
        return sum(member.count(*shape, r) for shape in of_kinds.values())
    return sum(member.count(*shape, r) for shape in shapes.values())


def family_table(shapes: Mapping[str, tuple[int, int]], r: int) -> pd.DataFrame:
    """Return all members, the fewest numbers first.

    Columns:
        member: Name in `MEMBERS`.
        title, rule, checked: As in `Member`.
        region: Its title.
        count: See `trained`.
        rank: The most that ΔW of the first matrix can have.
        turns: As in `Member`.
        paper: Its address, "" if it is not on arXiv.
    """
    first = next(iter(shapes.values()))
    rows = [
        (
            name, member.title, " ".join(REGIONS[member.region].title).replace("- ", ""), member.rule,
            trained(member, shapes, r), member.rank(*first, r), member.turns, member.checked, address(member) or "",
        )
        for name, member in MEMBERS.items()
    ]  # fmt: skip
    columns = ["member", "title", "region", "rule", "count", "rank", "turns", "checked", "paper"]
    return pd.DataFrame(rows, columns=columns).sort_values("count", kind="stable", ignore_index=True)


def address(member: Member) -> str | None:
    """Return where a method's paper is; None if it is not on arXiv."""
    return f"https://arxiv.org/abs/{member.paper}" if member.paper else None
