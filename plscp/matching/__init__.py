"""Contract section 3, module by module.

* Identifiers: `registry` spells issuers and locations, `identifiers` says whom one names, `match_context` what counts as given.
* A study takes events: `records` and `registry`, which `changes` (of `bodies`), `hospital` (messages) and `step_changes` move on.
* The table of rules, contradictions, the decision: `rules`; `model` has what goes in and comes out, `comments` what a device is told, `words` what people read.
* When the events occurred, whose clock is known: `by_place`, on `presence`: who was where, and signs of life.
* Turnover: `turnover`. Time: `times`. Substance Administration: `substance`, with `operators`.
* Second look: `second_look`. Where entries are moved to: `corrections`.
* Section 1, entries that come again: `known_entries`.
"""
