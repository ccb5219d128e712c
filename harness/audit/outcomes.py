"""The outcome of an audit as records: of a cell, a variant, a dimension, what was left aside, and the whole row."""

from __future__ import annotations

import msgspec

from harness.audit.ranking import Chance


class CellAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell under the best variant.

    Attributes
    ----------
    key, dataset, level, metric : str, str, int, str
        Which cell.
    printed : str
        As printed.
    measured : float
        Under the variant.
    explained, digits : int
        Printed digits explained, and printed: the score of the search. Only a cell with all of them is a match.
    tolerance : float
        Noise term; 0 where nothing is random.
    images : int
        Images of the set.
    """

    key: str
    dataset: str
    level: int
    metric: str
    printed: str
    measured: float
    explained: int
    digits: int
    tolerance: float
    images: int


class VariantAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant and what it explains.

    Attributes
    ----------
    choices : dict
        Value in each dimension.
    protocols : dict
        Protocol by metric.
    digits, whole : int
        Digits explained; cells whose digits are all explained.
    exact : int
        Digits explained without a noise term.
    misfit : float
        Sum over the cells of what lies beyond half a unit, in units of the last digit.
    largest : float
        Largest difference from a printed number, in units of its last digit.
    estimated : bool
        Whether its SSIM is an estimate from a few images, for it could not have reached the best.
    """

    choices: dict[str, str]
    protocols: dict[str, str]
    digits: int
    whole: int
    exact: int
    misfit: float
    largest: float
    estimated: bool = False


class ChoiceAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is the most that a variant with this value of a dimension explains.

    Attributes
    ----------
    value : str
        The value.
    digits : int
        The most digits that a variant with it explains.
    bound : bool
        True: not measured on every image, because it could not have reached the best; the digits are estimated from a
        few images, or the most that is left.
    agrees : bool
        Whether the value occurs among the variants that explain the most.
    """

    value: str
    digits: int
    bound: bool
    agrees: bool


class DimensionAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dimension: which of its values the numbers admit."""

    name: str
    values: tuple[ChoiceAudit, ...]

    @property
    def admitted(self) -> list[str]:
        """Values that occur among the variants that explain the most."""
        return [choice.value for choice in self.values if choice.agrees]


class ScreenedAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A making or finish that was not evaluated on every image.

    Attributes
    ----------
    choices : dict
        What differs from the stated making.
    verdict : str
        ``ruled out``, ``open`` or ``not possible``.
    reason : str
        In words.
    kind : str
        The reason without what is of one image or cell only, where it names one.
    """

    choices: dict[str, str]
    verdict: str
    reason: str
    kind: str = ""


class MixtureAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second variant, which explains columns that the best one leaves open.

    Attributes
    ----------
    places : tuple of str
        Dataset and level of those columns, such as ``live1/10``.
    choices : dict
        What differs from the best variant, by dimension.
    measured : dict
        Measured numbers of the columns' cells under it.
    digits, whole : int
        Of these cells: digits explained, and cells all of whose digits are.
    row_digits, row_whole : int
        Of the whole row, each column under its own variant.
    chance : Chance
        How surprising that is: these cells taken as a row of their own.
    """

    places: tuple[str, ...]
    choices: dict[str, str]
    measured: dict[str, float]
    digits: int
    whole: int
    row_digits: int
    row_whole: int
    chance: Chance


class RowAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome for one row of a table.

    Attributes
    ----------
    table, row, task, method : str
        Which row, and how it is made here.
    part : int
        Index of the table's part.
    reason : str
        Why nothing could be evaluated; empty otherwise.
    cells : tuple of CellAudit
        Under the best variant.
    left_out : dict
        Reason by cell that could not be evaluated.
    digits : int
        Printed digits of the evaluated cells.
    best, stated : VariantAudit or None
        The best variant, and the one that the table's file says.
    policy : str
        Inference policy.
    saving, span : str
        The best variant's finish.
    noise : str
        The best variant's noise, such as ``independent/0``; empty where nothing is random.
    datasets : dict
        Datasets that stand in for the columns' own under the best variant.
    dimensions : tuple of DimensionAudit
        Those with more than one value.
    ranking : tuple of VariantAudit
        The best variants that give different numbers.
    screened : tuple of ScreenedAudit
        What was left aside, and why.
    not_tried : tuple of str
        In words.
    chance : Chance or None
        How surprising the match is.
    mixture : MixtureAudit or None
        A second variant for the columns that the best one does not explain.
    random : bool
        Whether the best variant's input is random, so that a noise term was allowed.
    witnesses : dict
        Value of the smallest image by cell, which can be checked in seconds: ``{key: [image, value]}``.
    """

    table: str
    part: int
    row: str
    task: str
    method: str
    reason: str = ""
    cells: tuple[CellAudit, ...] = ()
    left_out: dict[str, str] = {}
    digits: int = 0
    best: VariantAudit | None = None
    stated: VariantAudit | None = None
    dimensions: tuple[DimensionAudit, ...] = ()
    ranking: tuple[VariantAudit, ...] = ()
    screened: tuple[ScreenedAudit, ...] = ()
    not_tried: tuple[str, ...] = ()
    chance: Chance | None = None
    mixture: MixtureAudit | None = None
    random: bool = False
    witnesses: dict[str, tuple[str, float]] = {}
    policy: str = ""
    saving: str = "round"
    span: str = "full"
    noise: str = ""
    datasets: dict[str, str] = {}

    @property
    def explained(self) -> bool:
        """Whether a variant matches every cell."""
        return self.best is not None and self.best.digits == self.digits

    @property
    def independent(self) -> int:
        """Matched cells that count as independent: one for each metric of a set whose cells all match.

        Levels of one set share its images, and what moves one cell moves the others: of the 18 different PSNR outcomes
        of PANet Table 3's JPEG row, 6 % of the pairs agree in all eight cells.
        """
        groups: dict[tuple[str, str], bool] = {}
        for cell in self.cells:
            group = cell.dataset, cell.metric
            groups[group] = groups.get(group, True) and cell.explained == cell.digits
        return sum(groups.values())
