"""Chapter 7: the relatives of SVFT on one map, which part of a weight each may change, and by how many numbers."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from analysis.adapters.shipped import shipped_adapters
from analysis.figures.family_map import family_map
from analysis.figures.family_update import family_update
from analysis.lessons.answers import Answer
from analysis.lessons.family.drawing import Setting
from analysis.lessons.family.members import MEMBERS, Member, address, family_table, trained
from analysis.lessons.family.regions import REGIONS
from analysis.models.packages import DEFAULT_BASE
from analysis.models.shapes import block_shapes
from app import figures, selection, trials
from app.compat import fragment
from app.views.learn import controls, prediction, question, racing

TITLE = "The family"
QUESTIONS = ("twins",)
MINUTES = 8
NOTES = (
    "A region says where ΔW may lie, a count how many numbers fill it: let students find the square that 9,216 "
    "numbers fill freely and 13 can only weigh. On the tall weight LoRA leaves the basis and SVFT cannot; on the "
    "square one nothing lies outside. A start (PiSSA, MiLoRA) binds nothing afterwards."
)
_N, _STEP = 24, 16  # the side of M as it is drawn; directions of the real one for each of them
_WEIGHTS = {"Tall": (36, _N), "Square": (_N, _N), "Wide": (_N, 36)}
_TITLES = {name: region.title for name, region in REGIONS.items()}


def show() -> None:
    """Draw the step that is open."""
    title = f"{len(MEMBERS)} names, {len(REGIONS)} regions of one weight"
    if controls.head(title, "step7", ("The map", "All counts")) == 0:
        _show_map()
    else:
        _show_counts()


@fragment
def _show_map() -> None:
    aside, stage = st.columns([4, 9], gap="medium")
    with aside:
        name = controls.pick("member", "Method", {name: member.title for name, member in MEMBERS.items()})
        member = MEMBERS[name]
        shape = _WEIGHTS[controls.choice("weight", "Weight W", list(_WEIGHTS))]
        r = _pick_r()
        st.markdown(f"${member.formula}$")  # not st.latex, which does not break a formula where the column ends
        st.markdown(member.says)
        _show_ways_on(member)
    setting = Setting(*shape, r // _STEP)
    with stage:
        masks = {region: REGIONS[region].mask(*shape, setting.r) for region in REGIONS}
        figure = family_map(masks, titles=_TITLES, n=_N, chosen=member.region, theme=figures.theme())
        figures.draw(figure, key="learn-family")
        st.caption(f"{figures.words(figure)['caption']} {_neighbours(member)}")
        left, right = st.columns([4, 5], gap="medium")
        with left:
            figure = family_update(member.draw(setting), n=_N, title=member.title, theme=figures.theme())
            figures.draw(figure, key="learn-update")
            st.caption(figures.words(figure)["caption"])
        with right:
            _show_facts(member, r)
            question.ask_choice(
                "twins",
                "Guess first: which two are the same method under two names?",
                list(_REPLIES),
                lambda given: Answer(given == _RIGHT, _REPLIES[given]),
                solution=f"{_RIGHT}: Mᵢᵢ = σᵢ(zᵢ − 1).",
            )


def _neighbours(member: Member) -> str:
    names = [other.title for other in MEMBERS.values() if other.region == member.region and other != member]
    return f"Here too: {', '.join(names)}." if names else "No other method is here."


def _pick_r() -> int:
    return controls.slider("directions", "r, directions of 384", _STEP, (_N - 1) * _STEP, 6 * _STEP, _STEP)


def _show_facts(member: Member, r: int) -> None:
    shapes = block_shapes(DEFAULT_BASE)
    with st.container(horizontal=True, key="learn-facts"):
        st.metric(
            f"Trained, all {len(shapes)} matrices", f"{trained(member, shapes, r):,}", help=f"For each: {member.rule}."
        )
        st.metric("Rank of ΔW, at most", member.rank(*next(iter(shapes.values())), r))
        st.metric("Singular vectors", "turn" if member.turns else "stay")


def _show_ways_on(member: Member) -> None:
    """Draw buttons to the nearest shipped adapter, to its study, and to a race; and the paper."""
    adapter = {"lora": "lora_r8"}.get(member.method, member.method)
    path = next((path for path in shipped_adapters().values() if path.name == f"{prediction.TASK}-{adapter}"), None)
    measured = trials.committed().get(prediction.TASK)
    with st.container(horizontal=True, key="learn-ways"):
        if path and st.button("Open in Explore", icon=":material/search:", key="family-explore",
                              on_click=selection.open_adapter, args=(path,)):  # fmt: skip
            st.rerun()
        if measured and member.method in measured.study.methods:
            if st.button("Measured before", icon=":material/monitoring:", key="family-measured",
                         on_click=_open_study):  # fmt: skip
                st.rerun()
        elif member.method and st.button("Race it", icon=":material/flag:", key="family-race",
                                         on_click=_race, args=(member.method,)):  # fmt: skip
            st.rerun()
        if link := address(member):
            st.link_button("Paper", link, icon=":material/article:")


def _open_study() -> None:
    trials.open_committed(prediction.TASK)
    selection.go("race", tab=selection.RACE_TABS[0])


def _race(method: str) -> None:
    racing.go(replace(racing.prepared(), methods=("head_only", method, "lora")))


@fragment
def _show_counts() -> None:
    r = _pick_r()
    shapes = block_shapes(DEFAULT_BASE)
    st.caption(
        f"The fewest first, for all {len(shapes)} matrices of the default model, with r = {r} if a method has an r. "
        "Look for methods of one region whose counts differ: not all of them fill it freely."
    )
    st.dataframe(
        family_table(shapes, r).drop(columns="member"),
        hide_index=True,
        height="content",
        key="learn-counts",
        column_config={
            "title": st.column_config.TextColumn("Method", pinned=True),
            "region": "May change",
            "rule": "For each matrix",
            "count": st.column_config.NumberColumn("Trained", format="localized"),
            "rank": st.column_config.NumberColumn("Rank, at most", help="Of ΔW of a square matrix."),
            "turns": st.column_config.CheckboxColumn("Turns vectors"),
            "checked": st.column_config.TextColumn(
                "Checked against", help="PEFT: region and count are tested against the installed one."
            ),
            "paper": st.column_config.LinkColumn("Paper", display_text=r"abs/(.*)"),
        },
    )


_RIGHT = "SVF and SVFT plain"
_REPLIES = {
    "LoRA-XS and PiSSA": "Both begin at the r strongest directions. Compare their regions: one may leave the square, "
    "the other may not.",
    "TinyLoRA and PSOFT": "One region does not make one method: compare how many numbers each has to fill it.",
    _RIGHT: "Right: Mᵢᵢ = σᵢ(zᵢ − 1), so each z is an M and, where σᵢ > 0, each M is a z. Only what a learning rate "
    "means differs. LoRA-XS and SVFT block are such a pair too, and SVFit is SVFT plain on its leading r entries.",
    "MiCA and MiLoRA": "Both begin at the r weakest directions. Compare their regions: one of them must stay there.",
}
