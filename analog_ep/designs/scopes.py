"""Parameters: what a name means where a card stands, and in which place of a file its value was written."""

from __future__ import annotations

from dataclasses import dataclass, field

from analog_ep.designs.evaluation import evaluate
from analog_ep.designs.expressions import Term, parse
from analog_ep.designs.source import Card, Span, Word
from analog_ep.errors import NetlistError
from analog_ep.support.numbers import is_number, read_number

MOST_TERMS = 20_000
"""Terms of an expression with its functions written out."""

_DEEPEST = 50


@dataclass(frozen=True, eq=False)
class Quantity:
    """A value, the place of the number that alone gives it, None where it is computed, and those that it depends on."""

    value: float
    origin: Span | None = None
    depends: frozenset[Span] = frozenset()

    @classmethod
    def written(cls, value: float, origin: Span | None) -> Quantity:
        """A number on a card."""
        return cls(value, origin, frozenset() if origin is None else frozenset([origin]))


@dataclass(eq=False)
class Uses:
    """Who reads which number of the files.

    Attributes
    ----------
    reader : str
        The element or model that is read.
    readers : dict of Span to set of str
        All that a number gives a value.
    """

    reader: str = ""
    readers: dict[Span, set[str]] = field(default_factory=dict)

    def add(self, quantity: Quantity) -> Quantity:
        """Write down what the reader depends on."""
        for span in quantity.depends:
            self.readers.setdefault(span, set()).add(self.reader)
        return quantity


@dataclass(frozen=True, eq=False)
class Binding:
    """What a parameter is bound to: a word, to be read where it was written."""

    word: Word
    scope: Scope
    may_be_bare: bool = True


@dataclass(frozen=True, eq=False)
class Function:
    """A function of a ``.func``."""

    arguments: tuple[str, ...]
    body: Term
    card: Card


@dataclass(eq=False)
class Scope:
    """Parameters of the whole design, or of one instance of a subcircuit.

    A name that is none of its own is looked for where the instance stands, and so on outwards: ngspice does it so.

    Attributes
    ----------
    outer : Scope or None
        Where the instance stands.
    bindings : dict of str to Binding
        Its own parameters.
    functions : dict of str to Function
        Of the whole design.
    owner : object
        The subcircuit of the instance.
    uses : Uses
        Of the whole design.
    """

    outer: Scope | None = None
    bindings: dict[str, Binding] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    owner: object = None
    uses: Uses = field(default_factory=Uses)
    _known: dict[str, Quantity] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    def __post_init__(self):
        if self.outer is not None:
            self.functions, self.uses = self.outer.functions, self.outer.uses

    def bind(self, name: Word, value: Word, scope: Scope) -> None:
        """Give a parameter its value, which is read in `scope`."""
        if name.lower in self.bindings:
            other = self.bindings[name.lower].word.card
            raise name.refuse(f"a parameter must be given once, found {name.text!r} in {other.place()} too")
        self.bindings[name.lower] = Binding(value, scope)

    def quantity(self, name: str) -> Quantity:
        """Value of a parameter.

        Raises
        ------
        NetlistError
            Without a place: if there is none of the name, or its value needs itself.
        """
        if name in self._known:
            return self._known[name]
        binding = self.bindings.get(name)
        if binding is None:
            if self.outer is None:
                raise NetlistError(
                    f"a parameter must be given a value, found none called {name!r}; write .param {name}=…"
                )
            return self.outer.quantity(name)
        if name in self._open:
            raise binding.word.refuse(f"a parameter must not need itself, found that {name!r} does")
        self._open.add(name)
        self._known[name] = binding.scope.value_of(binding.word, binding.may_be_bare)
        self._open.discard(name)
        return self._known[name]

    def read(self, word: Word) -> Quantity:
        """Value of a word for the element that is read: see `value_of`."""
        return self.uses.add(self.value_of(word))

    def value_of(self, word: Word, may_be_bare: bool = False) -> Quantity:
        """Value of a word: a number, or an expression in braces or quotes.

        Parameters
        ----------
        word : Word
            What stands on the card.
        may_be_bare : bool
            Whether an expression may do without braces, as in a ``.param``.

        Raises
        ------
        NetlistError
            If it has none.
        """
        try:
            if not word.is_expression and is_number(word.text) and _is_literal(word.text):
                number = read_number(word.text)
                return Quantity.written(number, word.card.span(word.start, word.end))
            if not word.is_expression and not may_be_bare:
                raise NetlistError(
                    f"a value must be a number or an {{expression}}, found {word.text[:40]!r}; write "
                    f"{{{word.text[:40]}}} for a parameter"
                )
            return self.quantity_of(word)
        except RecursionError:
            raise word.refuse("an expression must be less deep, found too many parameters of parameters") from None
        except NetlistError as error:
            raise _placed(error, word) from None

    def quantity_of(self, word: Word) -> Quantity:
        """Value of an expression, with or without braces or quotes."""
        inner = word.text[1:-1] if word.is_expression else word.text
        term = self.written_out(parse(inner))
        if term.kind == "name":
            return self.quantity(str(term.value))
        if term.kind == "number":
            shift = word.start + word.text.index(inner.strip())
            literal = inner.strip()
            origin = word.card.span(shift, shift + len(literal)) if _is_literal(literal) else None
            return Quantity.written(float(term.value), origin)  # pyright: ignore[reportArgumentType]
        depends: set[Span] = set()

        def value(name: str) -> float:
            quantity = self.quantity(name)
            depends.update(quantity.depends)
            return quantity.value

        return Quantity(evaluate(term, value), None, frozenset(depends))

    def used(self, name: str) -> Quantity:
        """Value of a parameter for the element that is read."""
        return self.uses.add(self.quantity(name))

    def written_out(self, term: Term) -> Term:
        """An expression with the design's own functions written out."""
        return _Writing(self.functions).term(term, {}, 0)


class _Writing:
    """Writes functions out, within a limit of terms."""

    def __init__(self, functions: dict[str, Function]):
        self.functions, self.count = functions, 0

    def term(self, term: Term, given: dict[str, Term], depth: int) -> Term:
        self.count += 1
        if self.count > MOST_TERMS or depth > _DEEPEST:
            raise NetlistError(
                f"an expression must be of at most {MOST_TERMS} terms with its functions written out, which must not "
                f"call themselves"
            )
        if term.kind == "name" and term.value in given:
            self.count += sum(1 for _ in given[str(term.value)].walk())
            return given[str(term.value)]
        parts = tuple(self.term(part, given, depth) for part in term.parts)
        function = self.functions.get(str(term.value)) if term.kind == "call" else None
        if function is None:
            return Term(term.kind, parts, term.value)
        if len(parts) != len(function.arguments):
            raise NetlistError(
                f"{term.value}() must have {len(function.arguments)} arguments, found {len(parts)}; it is defined in "
                f"{function.card.place()}"
            )
        return self.term(function.body, dict(zip(function.arguments, parts, strict=True)), depth + 1)


def _is_literal(text: str) -> bool:
    """Whether a text is one number and no expression such as 1k-2."""
    try:
        read_number(text)
    except NetlistError:
        return not any(character in text[1:] for character in "+-*/^?<>=!&|()") or text[-1:] in "+-"
    return True


def _placed(error: NetlistError, word: Word) -> NetlistError:
    """An error with file and line in front."""
    text = str(error)
    return error if ", line " in text.partition(": ")[0] else word.refuse(text)
