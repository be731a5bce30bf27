"""Kernels over a text's bytes: numbers in, numbers out.

A number of up to seven digits is read from one word of eight bytes: the first byte that is no digit ends it, the word
is shifted so that its digits end at the top, and three multiplications add them up in pairs, fours and eights (after
W. Muła and D. Lemire). The bytes of the next number are looked at while these run, so a line costs some 11 ns, half of
what digit by digit took.
"""

from typing import Any

import numpy as np
from numba import int64, njit, types, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[Any]

DIGITS_MAX = 18  # of a number that the kernels take: always within an int64
LINE_BYTES = 64  # behind the begin of a line, so that no word reaches past the text: three numbers take 27
EXACT_MANTISSA = (
    2**53
)  # up to this, and a power of ten up to 22, one operation on floats rounds correctly (Clinger 1990)
POWERS = np.array([10.0**k for k in range(23)])
EXPONENT_MAX = 9999

NEWLINE, SPACE, TAB, RETURN, MINUS, PLUS, ZERO, NINE, HASH, LETTER_C, POINT, LETTER_E, UPPER_E = b"\n \t\r-+09#c.eE"
ZEROS = 0x3030303030303030
ABOVE_NINE = 0x7676767676767676
TOPS = 0x8080808080808080


def _build_word(context: Any, text: Any, position: Any) -> Any:
    """The eight bytes from an offset, wherever it is."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(address, context.get_value_type(types.uint64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(text, position), build


def _build_low_zeros(context: Any, word: Any) -> Any:
    """How many bits are zero below the lowest one; the word is not zero."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(word), build


_word: Any = intrinsic(_build_word)
_low_zeros: Any = intrinsic(_build_low_zeros)


@njit(inline="always")
def _digits(text: Array, position: Any) -> Any:
    """(value, how many digits it has); 0 digits where there are none, 8 where there are more than seven."""
    word = _word(text, position) ^ uint64(ZEROS)
    others = (word | (word + uint64(ABOVE_NINE))) & uint64(TOPS)
    if others == 0:
        return uint64(0), uint64(8)
    bits = _low_zeros(others) & uint64(0x38)
    if bits == 0:
        return uint64(0), uint64(0)
    word <<= uint64(64) - bits
    word = (word * uint64(10) + (word >> uint64(8))) & uint64(0x00FF00FF00FF00FF)
    word = (word * uint64(100) + (word >> uint64(16))) & uint64(0x0000FFFF0000FFFF)
    word = (word * uint64(10000) + (word >> uint64(32))) & uint64(0xFFFFFFFF)
    return word, bits >> uint64(3)


@njit(cache=True, nogil=True)
def _number(text: Array, position: int) -> Any:
    """(value, offset behind it); an offset of -1 where no plain whole number stands."""
    size = text.shape[0]
    while position < size and (text[position] == SPACE or text[position] == TAB):
        position += 1
    negative = False
    if position < size and (text[position] == MINUS or text[position] == PLUS):
        negative = text[position] == MINUS
        position += 1
    first = position
    value = np.int64(0)
    while position < size and ZERO <= text[position] <= NINE:
        value = value * 10 + np.int64(text[position] - ZERO)
        position += 1
        if position - first > DIGITS_MAX:
            return np.int64(0), -1
    if position == first:
        return np.int64(0), -1
    return (-value if negative else value), position


@njit(cache=True, nogil=True)
def _decimal(text: Array, position: int) -> Any:
    """(value, offset behind it, whether the value is left to a slower reader); an offset of -1 where no number stands."""
    size = text.shape[0]
    while position < size and (text[position] == SPACE or text[position] == TAB):
        position += 1
    negative = False
    if position < size and (text[position] == MINUS or text[position] == PLUS):
        negative = text[position] == MINUS
        position += 1
    mantissa = np.int64(0)
    digits = seen = exponent = 0
    behind = False
    while position < size and (ZERO <= text[position] <= NINE or (text[position] == POINT and not behind)):
        if text[position] == POINT:
            behind = True
        else:
            seen += 1
            exponent -= behind
            if digits > 0 or text[position] != ZERO:
                digits += 1
            if digits <= DIGITS_MAX:
                mantissa = mantissa * 10 + np.int64(text[position] - ZERO)
        position += 1
    if seen == 0:
        return 0.0, -1, False
    if not behind and digits > DIGITS_MAX:
        return 0.0, -1, False  # a whole number that may not fit
    if position < size and (text[position] == LETTER_E or text[position] == UPPER_E):
        power, position = _number(text, position + 1)
        if position < 0 or abs(power) > EXPONENT_MAX:
            return 0.0, -1, False
        exponent += power
    value = np.float64(mantissa)
    if digits > DIGITS_MAX or mantissa > EXACT_MANTISSA or abs(exponent) > 22:
        whole = exponent == 0 and digits <= DIGITS_MAX
        return (-value if negative else value), position, not whole
    value = value * POWERS[exponent] if exponent >= 0 else value / POWERS[-exponent]
    return (-value if negative else value), position, False


@njit(cache=True, nogil=True)
def _skip(text: Array, position: int) -> int:
    """The offset of the next line's first visible character, past blank lines and comments."""
    size = text.shape[0]
    while position < size:
        letter = text[position]
        if letter in (HASH, LETTER_C):
            while position < size and text[position] != NEWLINE:
                position += 1
        elif letter != SPACE and letter != TAB and letter != RETURN and letter != NEWLINE:
            break
        else:
            position += 1
    return position


@njit(cache=True, nogil=True)
def _index(text: Array, position: int, variables: int, base: int) -> Any:
    """(zero-based index, offset behind it); an offset of -1 where none within range stands, and a blank behind it."""
    index, position = _number(text, position)
    if position < 0 or index < base or index >= variables + base or position >= text.shape[0]:
        return index, -1
    if text[position] != SPACE and text[position] != TAB:
        return index, -1
    return index - base, position


@njit(cache=True, nogil=True)
def _end_line(text: Array, position: int) -> Any:
    """The offset of the next line, where nothing but blanks is left of this one; else -1."""
    size = text.shape[0]
    while position < size and text[position] != NEWLINE:
        if text[position] != SPACE and text[position] != TAB and text[position] != RETURN:
            return -1
        position += 1
    return min(position + 1, size)


@njit(cache=True, nogil=True)
def _has_return(text: Array, position: Any) -> Any:
    """Whether the line at this offset ends with a carriage return."""
    while position < text.shape[0] and text[position] != NEWLINE:
        position += uint64(1)
    return position > 0 and position < text.shape[0] and text[position - uint64(1)] == RETURN


@njit(cache=True, nogil=True)
def _meets_diagonal(text: Array, start: int, stop: int) -> Any:
    """(whether a line before `stop` has the same number twice, else the offset of the first that is no plain line of terms)."""
    position = uint64(start)
    end = uint64(max(0, min(stop, text.shape[0] - LINE_BYTES)))
    while position < end:
        row, digits = _digits(text, position)
        here = position + digits
        if digits - uint64(1) > 6 or text[here] != SPACE:
            break
        here += uint64(1)
        column, digits = _digits(text, here)
        here += digits
        if digits - uint64(1) > 6 or text[here] != SPACE:
            break
        if row == column:
            return True, int64(position)
        while here < uint64(stop) and text[here] != NEWLINE:
            here += uint64(1)
        if here >= uint64(stop):
            break
        position = here + uint64(1)
    return False, int64(position)


@njit(cache=True, nogil=True)
def _read_clean(
    text: Array,
    start: int,
    variables: int,
    base: int,
    rows: Array,
    columns: Array,
    weights: Array,
    first_line: int,
    weight_max: int,
) -> Any:
    """(lines read, offset): from a line on as long as each is `digits blank digits blank [-]digits [\\r]\\n`, of such weights."""
    position = uint64(start)
    stop = uint64(max(0, text.shape[0] - LINE_BYTES))
    low, above, most = uint64(base), uint64(variables), uint64(weight_max)
    # All lines have a carriage return, or none has: to look at each for one would delay what is known of where the next begins.
    returns = uint64(_has_return(text, position))
    k: Any = uint64(first_line)  # unsigned like all that counts from the beginning
    lines: Any = uint64(rows.shape[0])
    while k < lines and position < stop:
        row, digits = _digits(text, position)
        here = position + digits
        if digits - uint64(1) > 6 or text[here] != SPACE:
            break
        here += uint64(1)
        column, digits = _digits(text, here)
        here += digits
        if digits - uint64(1) > 6 or text[here] != SPACE:
            break
        here += uint64(1)
        negative = text[here] == MINUS
        here += uint64(negative)
        weight, digits = uint64(text[here] ^ ZERO), uint64(1)
        if weight > 9 or text[here + uint64(1)] > RETURN:  # most weights are of one digit
            weight, digits = _digits(text, here)
        here += digits
        if digits - uint64(1) > 6 or weight > most or (returns and text[here] != RETURN):
            break
        here += returns
        if text[here] != NEWLINE:
            break
        row -= low
        column -= low
        if row >= above or column >= above:  # unsigned: below the base is far above
            break
        rows[k] = row
        columns[k] = column
        weights[k] = (int64(weight) ^ -int64(negative)) + int64(negative)
        k += uint64(1)
        position = here + uint64(1)
    return int64(k), int64(position)


@njit(cache=True, nogil=True)
def _read_whole(
    text: Array,
    start: int,
    variables: int,
    base: int,
    rows: Array,
    columns: Array,
    weights: Array,
    first_line: int,
    weight_max: int,
) -> Any:
    """Fills the arrays on from a line of whole numbers: (lines read, offset behind them, whether all is well).

    All is well where the offset is -1, too: at anything but whole numbers. Else it is that of a line whose weight is larger.
    """
    k = first_line
    position = start
    while k < rows.shape[0]:
        k, position = _read_clean(text, position, variables, base, rows, columns, weights, k, weight_max)
        position = _skip(text, position)
        if k == rows.shape[0] or position >= text.shape[0]:
            break
        begin = position
        row, position = _index(text, position, variables, base)
        if position < 0:
            return k, -1, True
        column, position = _index(text, position, variables, base)
        if position < 0:
            return k, -1, True
        weight, position = _number(text, position)
        if position < 0:
            return k, -1, True
        if abs(weight) > weight_max:
            return k, begin, False
        position = _end_line(text, position)
        if position < 0:
            return k, -1, True
        rows[k] = row
        columns[k] = column
        weights[k] = weight
        k += 1
    return k, position, True


@njit(cache=True, nogil=True)
def _read_decimals(
    text: Array, start: int, variables: int, base: int, rows: Array, columns: Array, weights: Array, hard: Array
) -> Any:
    """The same for decimal numbers; `hard[k]` is the offset of a weight that one operation can't round correctly."""
    k = 0
    position = start
    while k < rows.shape[0]:
        position = _skip(text, position)
        if position >= text.shape[0]:
            break
        row, position = _index(text, position, variables, base)
        if position < 0:
            return k, -1
        column, position = _index(text, position, variables, base)
        if position < 0:
            return k, -1
        begin = position
        weight, position, is_hard = _decimal(text, position)
        if position < 0:
            return k, -1
        if is_hard:
            hard[k] = begin
        position = _end_line(text, position)
        if position < 0:
            return k, -1
        rows[k] = row
        columns[k] = column
        weights[k] = weight
        k += 1
    return k, position


@njit(cache=True, nogil=True)
def _write_number(value: Any, text: Array, position: int) -> int:
    if value < 0:
        text[position] = MINUS
        position += 1
        value = -value
    digits = 1
    rest = value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for k in range(digits):
        text[position + digits - 1 - k] = ZERO + value % 10
        value //= 10
    return position + digits


@njit(cache=True, nogil=True)
def _write_triples(rows: Array, columns: Array, weights: Array, base: int, text: Array) -> int:
    position = 0
    for k in range(rows.shape[0]):
        position = _write_number(rows[k] + base, text, position)
        text[position] = SPACE
        position = _write_number(columns[k] + base, text, position + 1)
        text[position] = SPACE
        position = _write_number(weights[k], text, position + 1)
        text[position] = NEWLINE
        position += 1
    return position
