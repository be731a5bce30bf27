"""A ranking told number by number: what each score is made of, and by how much a bid was outscored."""

from agents.explaining.explanation import Behind, RankedBid, ScoreTerm, Shortfall
from agents.explaining.story import Book
from aggregates.values.ranking import Bid, Ranked, terms_of, tie_break
from aggregates.values.weights import Weights


def places(book: Book) -> tuple[RankedBid, ...]:
    """The book's ranking as it was recorded, the winner first."""
    return tuple(
        _place(rank, ranked, bid_of(book, ranked.agent_id), book.weights) for rank, ranked in enumerate(book.ranking, 1)
    )


def bid_of(book: Book, agent_id: str) -> Bid | None:
    """What an agent offered last; None where it has no bid."""
    answer = book.answers.get(agent_id)
    return answer.bid if answer is not None else None


def _place(rank: int, ranked: Ranked, bid: Bid | None, weights: Weights | None) -> RankedBid:
    terms = (
        ()
        if ranked.lost
        else tuple(
            ScoreTerm(name=term.name, value=term.value, weight=term.weight, points=term.value * term.weight)
            for term in terms_of(ranked, weights)
        )
    )
    return RankedBid(
        rank=rank,
        agent_id=ranked.agent_id,
        score=ranked.score,
        sum=sum(term.points for term in terms),
        terms=terms,
        lost=ranked.lost,
        bid=bid,
    )


def behind(book: Book, loser: Ranked) -> Behind:
    """Why the winner came before this bid, which has no fault."""
    winner = book.ranking[0]
    of_winner, of_loser = terms_of(winner, book.weights), terms_of(loser, book.weights)
    shortfalls = [
        Shortfall(name=mine.name, points=(theirs.value - mine.value) * mine.weight)
        for theirs, mine in zip(of_winner, of_loser, strict=True)
    ]
    bids = bid_of(book, winner.agent_id), bid_of(book, loser.agent_id)
    is_tie = winner.score == loser.score
    return Behind(
        agent_id=winner.agent_id,
        points=winner.score - loser.score,
        terms=tuple(sorted((one for one in shortfalls if one.points), key=lambda one: (-one.points, one.name))),
        tie_break=tie_break(bids[0], bids[1]) if is_tie and bids[0] is not None and bids[1] is not None else "",
    )
