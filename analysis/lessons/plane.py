"""Singular value decomposition in the plane: W = U Σ Vᵀ with U and V given by an angle each."""

from __future__ import annotations

import numpy as np

from analysis.lessons.answers import Answer, near

BY_HAND = np.array([[3.0, 0.0], [4.0, 5.0]])  # its WᵀW has whole eigenvalues


def rotation(degrees: float) -> np.ndarray:
    """Return the matrix (2, 2) that turns the plane counterclockwise."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def compose(u_degrees: float, sigma: tuple[float, float], v_degrees: float) -> np.ndarray:
    """Return W = U Σ Vᵀ, (2, 2), of two rotations U and V and two numbers."""
    return rotation(u_degrees) @ np.diag(sigma) @ rotation(v_degrees).T


def circle(points: int = 121) -> np.ndarray:
    """Return points on the unit circle, (2, points), the last one equal to the first."""
    angle = np.linspace(0, 2 * np.pi, points)
    return np.stack([np.cos(angle), np.sin(angle)])


def singular_values_by_hand(W: np.ndarray) -> tuple[float, float]:
    """Return σ₁ ≥ σ₂ of a 2×2 matrix: roots of the eigenvalues of WᵀW, λ² − (Σ wᵢⱼ²) λ + (det W)² = 0."""
    total, determinant = float((W**2).sum()), float(W[0, 0] * W[1, 1] - W[0, 1] * W[1, 0])
    root = np.sqrt(max(total**2 - 4 * determinant**2, 0.0))
    largest = np.sqrt((total + root) / 2)
    return float(largest), float(abs(determinant) / largest) if largest else 0.0  # σ₁σ₂ = |det W|: nothing cancels


def check_largest(given: float) -> Answer:
    """Return the reply to a guess of σ₁ of `BY_HAND`."""
    first, second = singular_values_by_hand(BY_HAND)
    if near(given, first):
        return Answer(
            True, f"Right: the eigenvalues of WᵀW are {first**2:.0f} and {second**2:.0f}, so σ₁ = {first:.3f}."
        )
    if near(given, first**2):
        return Answer(
            False, f"{first**2:.0f} is the largest eigenvalue of WᵀW: the singular value is its square root."
        )
    if near(given, second):
        return Answer(False, f"{second:.3f} is σ₂, the shorter half-axis of the ellipse: σ₁ is the longer one.")
    if near(given, float(np.linalg.eigvals(BY_HAND).real.max())):
        return Answer(False, "5 is the largest eigenvalue of W itself. An ellipse’s half-axis comes from WᵀW.")
    if near(given, float(np.linalg.norm(BY_HAND))):
        return Answer(
            False, "That is the root of the sum of all squares, √(σ₁² + σ₂²): one value is shorter than both."
        )
    return Answer(False, "Not yet. Multiply WᵀW, find λ with det(WᵀW − λI) = 0, and take the root of the larger one.")
