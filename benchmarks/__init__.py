"""The library beside two other clients on the same work: how many times as fast, as dear, as large?

    python -m benchmarks
    python -m benchmarks.journal

**What is measured**, for each client in a process of its own, from opening its HTTP session to closing it:

* throughput: items for each second on the clock;
* CPU per item: user and system time of the client's process. Making the items is in it, for all alike;
* peak memory: the most that was resident, with the interpreter and the imports.

The batches end the moment they are submitted, so what is left is what the client itself costs.

**How.** Machines are noisy, so a figure alone says little: look at the ratios. In each round every client
does the same work, one after the other, in an order that moves on from round to round; ratios are taken
within a round, and their median is shown with the least and the greatest. One client runs twice in each
round, as a control: where a ratio lies within the spread of the control, it says nothing. The server has a
core of its own where there are two.

**Nothing is gained by losing items.** The server counts distinct items that arrived, those that arrived
again, and those whose results were fetched; a client whose claims differ fails the whole command.

**A journal** has a command of its own: its time and CPU beside the library without one, on a server that takes 50 ms
to accept a batch and on one that accepts at once; its bytes; and the memory of first runs, resumed runs and replays.

**What is not measured**: start-up and imports (but for their memory), TLS, a distant network, polling of slow
batches, errors and retries. Nor is it checked that the values of an item arrived unchanged.

| module | what it does |
|---|---|
| `work` | the items |
| `server` | answers and counts |
| `clients` | one module for each client, and `harness`, which measures it |
| `runner` | starts the processes, round by round |
| `journal`, `journal_runs` | what a journal costs |
| `honesty` | compares what a client claims with what the server counted |
| `ratios`, `report` | from runs to ratios, from ratios to a table |
| `pinning` | one core for the client, another for the server |
"""
