"""How a running daemon is told things and asked for its status: over a Unix socket beside its journal.

A client sends one JSON object a line, and is answered with one JSON object a line, in the same order:

    {"do": "status"}                              ->  {"ok": {...}}
    {"do": "truth"}                               ->  {"ok": {"truth": "tabby, tabby cat", "by": "ann", "for_s": 12.3}}
    {"do": "truth", "name": "tabby", "by": "ann"} ->  the same; a name of null clears the truth: {"ok": {"truth": null}}
    {"do": "reload"}                              ->  {"ok": {"number": 1}}; {"do": "reload", "number": 1} tells how it
                                                      went: {"ok": {"number": 1, "outcome": {"changed": ["fps"]}}}
    {"do": "dance"}                               ->  {"error": "..."}, one sentence that names the choices

`do` names what is wanted; the other members belong to it. Further requests are further names in `Control`'s table.
A line holds at most `LINE_BYTES`. A client that neither completes a line nor takes its answer for `QUIET_S` is hung
up on, so connect, ask and leave. The socket's mode is 0660: whoever is in the daemon's group may ask.
"""
