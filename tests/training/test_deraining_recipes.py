"""The recipes of the deraining systems and of MLP hold what their programs say."""

from __future__ import annotations

import pytest
from deraining_facts import FACTS

from harness.training.recipe import learning_rate, recipe


@pytest.mark.parametrize("name", FACTS)
def test_a_recipe_states_what_is_so(name: str) -> None:
    found, fact = recipe(name), FACTS[name]
    assert (found.patch, found.batch, found.loss) == (fact.patch, fact.batch, fact.loss), fact.where
    assert (found.length("paper"), found.length_of) == (fact.iterations, fact.length_of), fact.where
    optimizer = found.optimizer
    assert (optimizer.name, optimizer.rate, optimizer.betas) == ("adam", fact.rate, fact.betas), fact.where
    assert (optimizer.weight_decay, optimizer.epsilon) == (fact.decay, 1e-8), fact.where
    assert found.data == ("bsd400" if name.startswith("mlp") else "rain13k")
    assert found.assumptions


def test_the_rates_fall_as_the_programs_rates_do() -> None:
    # SEMI: a tenth after a third and two thirds; MSPFN: 0.8 every 20,000; RESCAN: a hundredth at the end.
    semi, mspfn, rescan = (recipe(f"{name}-derain") for name in ("semi", "mspfn", "rescan"))
    assert [learning_rate(semi, i) for i in (0, 250_000, 500_000)] == pytest.approx([1e-3, 1.25e-4, 1.5625e-5])
    assert mspfn.schedule.every == pytest.approx(20_000 * 3.10628, abs=1)
    assert learning_rate(rescan, 20_000) == pytest.approx(5e-5)
    for name in ("didmdn", "umrl"):
        found = recipe(f"{name}-derain")
        rates = [learning_rate(found, i) for i in (0, found.iterations // 4, found.iterations)]
        assert rates == pytest.approx([2e-4, 1.5e-4, 0.0])
