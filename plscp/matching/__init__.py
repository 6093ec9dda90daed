"""Contract section 3, module by module.

* Identifiers: `registry` spells issuers and locations, `match_context` says what counts as given.
* A study takes events: `records` and `registry`, which `changes` (of `bodies`) moves on; `match_context`.
* The table of rules, contradictions, the decision: `rules`; `model` has what goes in and comes out, `comments` what a device is told, `words` what people read.
* When the events occurred, whose clock is known: `by_place`, on `presence`: who was where, and signs of life.
* Turnover: `turnover`. Time: `times`. Substance Administration: `substance`.
* Section 1, entries that come again: `known_entries`.
"""
