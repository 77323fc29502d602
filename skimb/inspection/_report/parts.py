"""What a report is made of."""

from dataclasses import dataclass, field

LEVELS = ("stop", "warn", "note")


@dataclass
class Table:
    """Rows of names, numbers and estimates.

    Parameters
    ----------
    header : tuple of str
        Names of the columns; the first column names the rows.
    rows : list of tuple
        Cells.
    caption : str or None
        What stands above.
    """

    header: tuple
    rows: list
    caption: str | None = None

    def column(self, name):
        """Cells of a column."""
        at = self.header.index(name)
        return [row[at] for row in self.rows]


@dataclass
class Picture:
    """An image in a page.

    Parameters
    ----------
    data : bytes
        PNG.
    alt : str
        What it shows, in words.
    """

    data: bytes = field(repr=False)
    alt: str


@dataclass
class Section:
    """One part of a report: a sentence, tables, at most one picture.

    Parameters
    ----------
    key : str
        Short name.
    title : str
        Heading.
    sentence : str
        What the figures say.
    tables : list of Table
        Figures.
    values : dict
        The main figures by name.
    picture : Picture or None
        Image.
    """

    key: str
    title: str
    sentence: str
    tables: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    picture: Picture | None = None


@dataclass
class Verdict:
    """What a rule found.

    Parameters
    ----------
    code : str
        Of the rule, "SKI001" and so on.
    level : {"stop", "warn", "note"}
        How much it matters.
    text : str
        A sentence that names the numbers.
    numbers : dict
        These numbers.
    """

    code: str
    level: str
    text: str
    numbers: dict = field(default_factory=dict)
