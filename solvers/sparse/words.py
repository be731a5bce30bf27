"""Multi-spin coding: Metropolis sweeps of 64 replicas at once, one to each bit of a word.

Spin i of all replicas is the word `words[i]` (a bit is 1 where the spin is -1). A coupling's word is 1 where it is
satisfied, `s_i ⊕ s_j ⊕ sign`; so the satisfied weight around a spin is a sum of bits, made for all replicas at once
by adders of words (carry save, after Jacobs and Rebbi 1981 and Isakov et al. 2015). With D the sum of all magnitudes
around it and c the satisfied one, a flip gains `D - 2c`. The counter begins at `63 - ⌊D/2⌋`, so its top bit says
"the flip loses", and the bits below say how much: `j = c - ⌊D/2⌋ - 1`.

The flip is then taken with `exp(-2(j+1)/T)` where D is even and `exp(-(2j+1)/T)` where it is odd: a product over the
bits of j, each a word of random bits with its own probability: exact to the 20 bits of these, but for losses of 32
and more, which are never taken. Leaving out losses over 6 instead, as faster codes do, cost the random graphs their
optimum: on G55, whose reduction doubles all weights, 10,278 after ten seconds in place of 10,290 after 0.1.

Random bits come from pools of 1,024 words that are renewed little by little; each visit draws one random word, whose
bits choose the words from the pools. On one core of 2026 this makes 17 billion visits a second on a grid, 4 billion
on a random graph of degree 5.

Work counts a step for each word visited and each neighbor's word looked at, for all replicas together.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

from solvers.spins import BLOCK, POSITION, SWEEP, WORK, _random

Array = NDArray[Any]

LANES = 64
STRENGTH_MAX = 127
"""The largest sum of magnitudes around a spin: what seven planes of a counter hold."""
POOL_WORDS = 1024
POOL_ROWS = 5  # exp(-1/T), exp(-2/T), exp(-4/T), exp(-8/T), exp(-16/T)
PROBABILITY_BITS = 20
RENEWED_WORDS_MIN, RENEWED_WORDS_MAX = 16, 128  # of each row, after each sweep
RENEWED_STEPS = 32  # that a word of each row takes as long as
AHEAD = 32  # entries of rows, whose neighbors' words are asked for before they are needed: a million spins' words are in no near cache


def _build_prefetch(context: Any, words: Any, index: Any) -> Any:
    """Asks the memory for a word: nothing is computed, and nothing waits."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(prefetch, [address, number(0), number(3), number(1)])  # to be read, into the nearest cache, data
        return context.get_dummy_value()

    return types.void(words, index), build


_prefetch: Any = intrinsic(_build_prefetch)


@njit(cache=True, nogil=True)
def _random_words(words: Array, state: Array) -> None:
    for i in range(words.shape[0]):
        words[i] = _random(state)


@njit(cache=True, nogil=True)
def _renew(pools: Array, begin: int, end: int, thresholds: Array, state: Array) -> None:
    """Words whose bits are 1 with probability `thresholds[row] / 2^20`, by Horner's rule over the probability's own bits."""
    for row in range(thresholds.shape[0]):
        threshold = thresholds[row]
        low = 0
        while low < PROBABILITY_BITS and not (threshold >> low) & 1:
            low += 1  # bits below the last one change nothing
        for i in range(begin, end):
            word = uint64(0)
            for bit in range(low, PROBABILITY_BITS):
                drawn = _random(state)
                word = word | drawn if (threshold >> bit) & 1 else word & drawn
            pools[row, i] = word


@njit(cache=True, nogil=True)
def _sweep_grid(words: Array, near: Array, signs: Array, pools: Array, state: Array, begin: int, end: int) -> None:
    """Visits spins that all have four couplings of magnitude one: two adders in registers, five times as fast."""
    x = state[0]
    y = state[1]
    mask = uint64(POOL_WORDS - 1)
    for i in range(begin, end):
        drawn = x + y
        y ^= x
        x = ((x << uint64(24)) | (x >> uint64(40))) ^ y ^ (y << uint64(16))
        y = (y << uint64(37)) | (y >> uint64(27))
        spin = words[i]
        k = uint64(4) * uint64(i)
        a = words[near[k]] ^ spin ^ signs[k]
        b = words[near[k + uint64(1)]] ^ spin ^ signs[k + uint64(1)]
        c = words[near[k + uint64(2)]] ^ spin ^ signs[k + uint64(2)]
        d = words[near[k + uint64(3)]] ^ spin ^ signs[k + uint64(3)]
        ab = a & b
        cd = c & d
        four = ab & cd
        three = (a ^ b ^ c ^ d) & (ab | cd)
        one = pools[1, (drawn >> uint64(12)) & mask]
        two = pools[2, (drawn >> uint64(24)) & mask]
        words[i] = spin ^ (~(three | four) | (three & one) | (four & two))
    state[0] = x
    state[1] = y


@njit(inline="always")
def _add_fours(c2: Any, c3: Any, c4: Any, c5: Any, c6: Any, u: Any) -> Any:
    """The upper planes of a counter plus a word of fours."""
    t = c2 & u
    c2 = c2 ^ u
    u = c3 & t
    c3 = c3 ^ t
    t = c4 & u
    c4 = c4 ^ u
    u = c5 & t
    c5 = c5 ^ t
    return c2, c3, c4, c5, c6 ^ u


@njit(inline="always")
def _add_pair(c: Any, a: Any, b: Any) -> Any:
    """A plane plus two words of its weight, and the carry."""
    t = a ^ b
    return c ^ t, (a & b) | (t & c)


@njit(cache=True, nogil=True)
def _sweep(
    words: Array,
    near: Array,
    signs: Array,
    indptr: Array,
    pairs: Array,
    fours: Array,
    pools: Array,
    state: Array,
    begin: int,
    end: int,
) -> None:
    """Visits spins of any strength up to 127: of row i, the couplings before `pairs[i]` weigh 1, before `fours[i]` 2, the rest 4."""
    x = state[0]
    y = state[1]
    mask = uint64(POOL_WORDS - 1)
    one = uint64(1)
    none = uint64(0)
    for i in range(begin, end):
        drawn = x + y
        y ^= x
        x = ((x << uint64(24)) | (x >> uint64(40))) ^ y ^ (y << uint64(16))
        y = (y << uint64(37)) | (y >> uint64(27))
        s = words[i]
        k = uint64(indptr[i])
        entries = uint64(near.shape[0])
        for entry in range(min(k + uint64(AHEAD), entries), min(uint64(indptr[i + 1]) + uint64(AHEAD), entries)):
            _prefetch(words, near[entry])
        two, four, stop = uint64(pairs[i]), uint64(fours[i]), uint64(indptr[i + 1])
        strength = (two - k) + uint64(2) * (four - two) + uint64(4) * (stop - four)
        at = uint64(63) - (strength >> one)
        c0, c1, c2 = none - (at & one), none - ((at >> one) & one), none - ((at >> uint64(2)) & one)
        c3, c4 = none - ((at >> uint64(3)) & one), none - ((at >> uint64(4)) & one)
        c5, c6 = none - (at >> uint64(5)), none
        while k + uint64(4) <= two:  # four at a time need half the operations
            c0, u = _add_pair(c0, words[near[k]] ^ s ^ signs[k], words[near[k + one]] ^ s ^ signs[k + one])
            k += uint64(2)
            c0, t = _add_pair(c0, words[near[k]] ^ s ^ signs[k], words[near[k + one]] ^ s ^ signs[k + one])
            k += uint64(2)
            c1, u = _add_pair(c1, u, t)
            c2, c3, c4, c5, c6 = _add_fours(c2, c3, c4, c5, c6, u)
        while k < two:
            t = words[near[k]] ^ s ^ signs[k]
            k += one
            u = c0 & t
            c0 ^= t
            c2, c3, c4, c5, c6 = _add_fours(c2, c3, c4, c5, c6, c1 & u)
            c1 ^= u
        while k + one < four:
            c1, u = _add_pair(c1, words[near[k]] ^ s ^ signs[k], words[near[k + one]] ^ s ^ signs[k + one])
            k += uint64(2)
            c2, c3, c4, c5, c6 = _add_fours(c2, c3, c4, c5, c6, u)
        if k < four:
            t = words[near[k]] ^ s ^ signs[k]
            k += one
            c2, c3, c4, c5, c6 = _add_fours(c2, c3, c4, c5, c6, c1 & t)
            c1 ^= t
        while k < stop:
            c2, c3, c4, c5, c6 = _add_fours(c2, c3, c4, c5, c6, words[near[k]] ^ s ^ signs[k])
            k += one
        taken = (~c0 | pools[1, (drawn >> uint64(12)) & mask]) & (~c1 | pools[2, (drawn >> uint64(22)) & mask])
        taken &= (~c2 | pools[3, (drawn >> uint64(32)) & mask]) & (~c3 | pools[4, (drawn >> uint64(42)) & mask])
        taken &= pools[one - (strength & one), drawn >> uint64(54)] & ~c4 & ~c5
        words[i] = s ^ (taken | ~c6)
    state[0] = x
    state[1] = y


@njit(cache=True, nogil=True)
def _anneal_words(
    words: Array,
    is_grid: bool,
    near: Array,
    signs: Array,
    indptr: Array,
    pairs: Array,
    fours: Array,
    sweeps: int,
    thresholds: Array,
    pools: Array,
    renewed: int,
    state: Array,
    cursor: Array,
    work_stop: int,
) -> None:
    """Sweeps on from the cursor until they are done or the work reaches `work_stop`.

    The rows of `thresholds` are spread evenly over the sweeps. Before each sweep `renewed` words of each pool take
    its row's; the first sweep needs whole pools of the first row's.
    """
    n = indptr.shape[0] - 1
    work = cursor[WORK]
    sweep = cursor[SWEEP]
    position = cursor[POSITION]
    while sweep < sweeps and work < work_stop:
        if position == 0 and renewed > 0:
            begin = (sweep * renewed) % POOL_WORDS
            _renew(
                pools, begin, min(POOL_WORDS, begin + renewed), thresholds[sweep * thresholds.shape[0] // sweeps], state
            )
            work += RENEWED_STEPS * renewed
        end = min(n, position + BLOCK)
        if is_grid:
            _sweep_grid(words, near, signs, pools, state, position, end)
        else:
            _sweep(words, near, signs, indptr, pairs, fours, pools, state, position, end)
        work += end - position + indptr[end] - indptr[position]
        position = end
        if position == n:
            position = 0
            sweep += 1
    cursor[WORK] = work
    cursor[SWEEP] = sweep
    cursor[POSITION] = position


@njit(cache=True, nogil=True)
def _spread(spins: Array, words: Array) -> None:
    """All replicas take these spins."""
    for i in range(spins.shape[0]):
        words[i] = uint64(0) if spins[i] > 0 else ~uint64(0)


@njit(cache=True, nogil=True)
def _put(spins: Array, lane: int, words: Array) -> None:
    """One replica takes these spins."""
    bit = uint64(1) << uint64(lane)
    for i in range(spins.shape[0]):
        words[i] = words[i] & ~bit if spins[i] > 0 else words[i] | bit
