"""Whether several threads are quicker is decided by recent times, and again when these change."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("slower", [0, 1])
def test_the_quicker_way_is_taken_until_it_is_slower(javascript, slower):
    taken = javascript(
        """
        const { Times } = await import(player + "/threads.js");
        let now = 5;
        performance.now = () => now;
        const times = new Times();
        const costs = [1, 1];
        let taken = [0, 0];
        const ways = [0, 1].map((way) => () => {
            now += costs[way];
            taken[way]++;
        });
        const runs = (count) => {
            taken = [0, 0];
            for (let i = 0; i < count; i++) times.run(...ways);
            return taken;
        };
        answer = [];
        costs[value] = 3;
        answer.push(runs(1280));
        costs[1 - value] = 500;  // an accident
        answer.push(runs(1));
        costs[1 - value] = 1;
        answer.push(runs(1280));
        costs[1 - value] = 6;  // from now on
        answer.push(runs(1280));
        """,
        slower,
    )
    at_first, accident, after, changed = taken
    assert at_first[slower] <= 22
    assert accident[1 - slower] == 1
    assert after[slower] <= 22
    assert changed[1 - slower] <= 26
    assert all(min(counts) >= 19 for counts in (at_first, after, changed))


def test_the_page_decides_about_threads(javascript):
    """By cores and by what was asked for; kernels that are not ours stay as they are."""
    found = javascript(
        """
        const { prepare } = await import(player + "/threads.js");
        const name = [7, ...new TextEncoder().encode("tabgrad"), 6];
        const bytes = [1, 2, 3, ...name, ...new TextEncoder().encode("memory"), 2, 1, 1];
        const cores = (count) =>
            Object.defineProperty(globalThis, "navigator", {
                configurable: true, value: { hardwareConcurrency: count },
            });
        const entries = (flops) => ({ entries: [{ flops: 5 }, { flops }] });
        answer = [];
        for (const [count, most, flops, broken] of value) {
            cores(count ?? undefined);
            const kernels = Uint8Array.from(bytes);
            if (broken) kernels[5] = 0;
            const before = kernels.join();
            const threads = prepare(entries(flops ?? undefined), kernels.buffer, most ?? undefined);
            const flag = kernels[kernels.length - 2];
            kernels[kernels.length - 2] = 1;
            answer.push([threads ? [...threads] : null, flag, before === kernels.join()]);
        }
        """,
        [
            *([2, None, 1e9, 0], [4, None, 1e9, 0], [6, None, 1e9, 0], [12, None, 1e9, 0]),
            *([64, None, 1e9, 0], [64, 32, 1e9, 0], [2, 8, 1e9, 0], [8, 3, 1e9, 0]),
            *([1, None, 1e9, 0], [1, 4, 1e9, 0], [None, None, 1e9, 0], [8, None, 1e5, 0]),
            *([8, None, None, 0], [8, None, 1e9, 1]),
        ],
    )
    shared = [[[1, count, asked], 3, True] for count, asked in [
        (2, 0), (4, 0), (4, 0), (6, 0), (8, 0), (32, 1), (2, 1), (3, 1)
    ]]  # fmt: skip
    alone = [[None, 1, True]] * 5 + [[None, 1, True]]
    assert found == shared + alone
