"""Random operations on one file agree with a model, byte for byte; and the exerciser sees a wrong byte."""

import os
import re
from pathlib import Path

import pytest
from mount.fsx import Exerciser, Mismatch, exercise

OPERATIONS = int(os.environ.get("FSX_OPERATIONS", "1500"))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_file_agrees_with_the_model(folder: Path, seed: int) -> None:
    exercise(folder, seed, OPERATIONS, size_bytes=(1 << 20) // seed)


@pytest.mark.needs_product
def test_file_agrees_with_the_model_with_o_direct_at_any_alignment(folder: Path) -> None:
    exercise(folder, 4, OPERATIONS, size_bytes=1 << 19, direct=True)


def test_one_wrong_byte_is_seen_and_told_with_its_seed(folder: Path) -> None:
    exerciser = Exerciser(folder / "file", 7, 1 << 18)
    exerciser.run(50)
    exerciser.model.extend(b"tail")
    os.truncate(folder / "file", len(exerciser.model))
    with pytest.raises(Mismatch, match=re.compile(r"seed 7, operation 50: .* differ .*the last operations", re.DOTALL)):
        exerciser.run(0)
    exerciser.close()
