"""What the library costs, and how near it comes to what can be done: as ratios, taken side by side in one run.

    python -m benchmarks                    # all questions
    python -m benchmarks speed waiting      # some of them
    python -m benchmarks --quick            # a first look, in less than two minutes
    python -m benchmarks --json all.json --pictures pictures
    python -m benchmarks.speed --help       # the first one with other settings
    python -m benchmarks.journal            # what a journal costs

| question | what is measured |
|---|---|
| `speed` | CPU for each item, throughput and peak memory beside raw aiohttp and naive scripts; batches end at once |
| `memory` | peak memory at 100,000 and 1,000,000 items, also with a slow consumer |
| `waiting` | delay until an end is seen, questions asked, total time; beside an oracle and the ideal; virtual time |
| `first-result` | seconds until the first result, however large the input is |
| `growth` | time and requests over items; rate over batches in flight |
| `many` | 100 uploads at once on one client beside one as large |
| `tracing` | CPU for each item with OpenTelemetry, with `on_event`, and with neither |
| `imports` | importing it beside importing aiohttp and pydantic |

**How.** Machines are noisy, so a figure alone says little: look at the ratios. In each round every client
does the same work, one after the other, in an order that moves on from round to round; ratios are taken
within a round, and their median is shown with the least and the greatest. One client runs twice in each
round, as a control: where a ratio lies within the spread of the control, it says nothing. The server has a
core of its own where there are two. Each client runs in a process of its own, measured from opening its HTTP
session to closing it; making the items is in it, for all alike.

**Nothing is gained by losing items.** The server counts distinct items that arrived, those that arrived
again, and those whose results were fetched; a client whose claims differ fails the whole command.

**Goals** stand beside the figures. One that is missed fails nothing.

**What is not measured**: TLS, a distant network, errors and retries. Nor is it checked that the values of an item
arrived unchanged. The control of `waiting` is the spread over its draws: virtual time has no noise.

| module | what it does |
|---|---|
| `questions` | what a question, an answer and a verdict are; `__main__` asks them |
| `speed`, `memory`, `waiting`, `first_result`, `growth`, `many`, `tracing`, `imports` | one question each |
| `worlds`, `oracle`, `virtual` | for `waiting`: servers, the best that can be done, the library in virtual time |
| `work` | the items |
| `server` | answers and counts |
| `clients` | one module for each client, and `harness`, which measures it |
| `runner` | starts the processes, round by round |
| `journal`, `journal_runs` | what a journal costs |
| `soak`, `soak_server` | one client, kept busy for long |
| `honesty` | compares what a client claims with what the server counted |
| `ratios`, `report`, `pictures` | from runs to ratios, from ratios to tables and pictures |
| `pinning` | one core for the client, another for the server |
"""
