"""A search with its names looked up once: what is handed to functions, and to Ray tasks, from here on."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from zcpt_ray.configs import AS_THEY_ARE, SearchConfig
from zcpt_ray.datasets import DATASETS, Dataset, find_dataset
from zcpt_ray.devices import DEVICES, TARGETS
from zcpt_ray.errors import UserError
from zcpt_ray.identity import identity, run_name
from zcpt_ray.proxies import Proxy, find_proxy
from zcpt_ray.proxies.evidence import AUTO_PROXY, best_proxy
from zcpt_ray.registry import Named, located, lookup, own_content
from zcpt_ray.resources import RESOURCES, Resource
from zcpt_ray.search.methods import METHODS
from zcpt_ray.search.orders import ORDERS, Order
from zcpt_ray.search.proposing import Method
from zcpt_ray.search.scoring import SCORINGS, ProxyScores, Scoring
from zcpt_ray.seeding import derive_seed
from zcpt_ray.spaces import SPACES, Space, find_space
from zcpt_ray.storage.paths import file_digest

DISCRETIZE = "discretize"
"""The method that is not a baseline: Zero-Cost-PT and everything that only scores ops otherwise."""


@dataclass(frozen=True)
class Search:
    """A configuration and the objects that its names stand for; `method` is None where a supernet is discretized.

    `own` tells by kind and name ("proxy mine") what the user's own objects hold, as a digest of their code: it is part
    of the run's identity. Searches are equal if configuration and `own` are.
    """

    config: SearchConfig
    space: Space = field(compare=False)
    dataset: Dataset = field(compare=False)
    proxy: Proxy = field(compare=False)
    validation_proxy: Proxy = field(compare=False)
    scoring: Scoring = field(compare=False)
    order: Order = field(compare=False)
    method: Method | None = field(compare=False)
    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, config: SearchConfig) -> "Search":
        """Look up every name of `config`, before any work.

        Raises:
            UserError: an unknown name (the message lists the known ones), a budget for a method that keeps none, or a
                proxy that does not serve the space or the device.
        """
        config = dataclasses.replace(
            config, space=located(config.space, SPACES), dataset=located(config.dataset, DATASETS)
        )
        if config.proxy == AUTO_PROXY:
            config = dataclasses.replace(config, proxy=best_proxy(config.space, SearchConfig.proxy))
        scoring = lookup(SCORINGS, config.scoring, "scoring")
        method = lookup({DISCRETIZE: None, **METHODS}, config.method, "method")
        _check_limits(config, method)
        space, (proxy, judge) = find_space(config.space), _proxies(config, scoring)
        for each in (proxy, judge):
            _check_serves(each, space, config)
        if not space.has_supernet and (method is None or method.asks_supernet):
            raise UserError(space.refusal)
        if config.confidence and (method or not isinstance(scoring.evidence, ProxyScores)):
            raise UserError(
                f"confidence asks a proxy on more minibatches, and {_how(method, scoring)} asks none: leave out"
                " --confidence"
            )
        asks = method.asks_proxy if method else isinstance(scoring.evidence, ProxyScores)
        if config.proposal_weights > 1 and not asks:
            raise UserError(f"{_how(method, scoring)} asks no proxy of untrained weights: leave out --proposal-weights")
        order, scope = lookup(ORDERS, config.order, "order"), config.scope or scoring.scope
        if order.compares_edges and scope == "edge" and proxy.is_relative:
            raise UserError(
                f"order {order.name!r} compares the scores of different edges, which {proxy.name!r} ranks apart with"
                " --scope edge: use --scope step"
            )
        found = cls(
            config,
            space,
            find_dataset(config.dataset, config.images),
            proxy,
            judge,
            scoring,
            order,
            method,
        )
        return dataclasses.replace(found, own=found._own_contents())

    def _own_contents(self) -> dict[str, str]:
        parts: dict[str, Named] = {"space": self.space, "dataset": self.dataset, "proxy": self.proxy}
        if self.config.validation_proxy:
            parts["validation proxy"] = self.validation_proxy
        parts |= {"scoring": self.scoring, "order": self.order}
        if self.method:
            parts["method"] = self.method
        contents = {f"{kind} {part.name}": own_content(part) for kind, part in parts.items()}
        if self.config.device_table:
            contents["device table"] = file_digest(self.config.device_table)
        return {name: content for name, content in contents.items() if content}

    def with_config(self, **changes: Any) -> "Search":
        """The same with other numbers in its configuration: nothing is looked up again.

        Raises:
            ValueError: a change of a name.
        """
        if named := changes.keys() & {"space", "dataset", "proxy", "validation_proxy", "scoring", "order", "method"}:
            raise ValueError(f"{', '.join(sorted(named))} cannot be changed without being looked up: use Search.of")
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **changes))

    @property
    def scope(self) -> str:
        """Among which ops of a step a proxy ranks that only ranks: edge or step."""
        return self.config.scope or self.scoring.scope

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What a run directory is claimed with: the configuration, and what the user's own objects hold."""
        return identity(self.config, self.own)

    @property
    def validated_by(self) -> dict[str, object]:
        """What a score end to end depends on beside the architecture and the minibatch, whatever asks for it."""
        depends = self._scored_by(self.validation_proxy, "validation" if self.config.validation_proxy else "proxy")
        sets = self.config.validation_weights
        return depends | ({"weights": sets} if sets != 1 else {})

    @property
    def scored_by(self) -> dict[str, object]:
        """The same for the scores of ops, and those of every network that some scorings ask for."""
        return self._scored_by(self.proxy, "proxy")

    def _scored_by(self, proxy: Proxy, kind: str) -> dict[str, object]:
        kinds = ("space", "dataset", kind)
        depends: dict[str, object] = {"space": self.config.space, "dataset": self.config.dataset}
        depends |= {"proxy": proxy.name, "batch_size": self.config.batch_size, "seed": self.config.seed}
        if self.config.images != AS_THEY_ARE:
            depends["images"] = vars(self.config.images)
        own = {name: content for name, content in self.own.items() if name.split()[0] in kinds}
        return depends | ({"own": own} if own else {})

    def weights_seed(self, number: int = 0) -> int:
        """Draws the untrained weights of the search seed; `number` counts further sets of them."""
        return derive_seed(self.config.seed, "supernet", *[number] * bool(number))

    @property
    def run_id(self) -> str:
        """A short digest of the identity: the name of the run."""
        return run_name(self.config, self.own)


def with_proxy(config: SearchConfig, name: str) -> SearchConfig:
    """`config` with another proxy, and with its aggregation where that joins several."""
    return dataclasses.replace(
        config, proxy=name, aggregation=config.aggregation if "+" in name else SearchConfig.aggregation
    )


def _how(method: Method | None, scoring: Scoring) -> str:
    return f"method {method.name!r}" if method else f"scoring {scoring.name!r}"


def _proxies(config: SearchConfig, scoring: Scoring) -> tuple[Proxy, Proxy]:
    """The one that scores ops, and the one that scores candidates end to end.

    Raises:
        UserError: an unknown name, or an aggregation where neither has several members.
    """
    names = [scoring.proxy or config.proxy, config.validation_proxy or scoring.proxy or config.proxy]
    joined = [name for name in names if "+" in name] or names
    found = {name: find_proxy(name, config.aggregation) for name in joined}
    found |= {name: find_proxy(name) for name in names if name not in found}
    return found[names[0]], found[names[1]]


def _check_serves(proxy: Proxy, space: Space, config: SearchConfig) -> None:
    """Raises:
    UserError: a proxy that does not serve the space, the minibatches or the device.
    """
    if proxy.thin and space.thin is None:
        raise UserError(
            f"proxy {proxy.name!r} does not serve space {space.name!r}: it has no thin form to count linear regions in"
        )
    proxy.require_images(config.batch_size)
    if "float64" in proxy.dtype and config.device in DEVICES and not DEVICES[config.device].has_float64:
        raise UserError(f"proxy {proxy.name!r} needs float64, which device {config.device!r} has not: use --device cpu")


def _check_limits(config: SearchConfig, method: Method | None) -> None:
    """Raises:
    UserError: a budget for a method that keeps none, or one of a device that is not named.
    """
    limited = [RESOURCES[name] for name in config.limits]
    if method and not method.budgeted and limited:
        raise UserError(f"method {method.name!r} keeps no budget: leave out {flags_of(limited)}")
    of_device = [resource for resource in limited if resource.of_device]
    if of_device and not config.target and not config.device_table:
        raise UserError(
            f"{flags_of(of_device)} needs a device: --device {'|'.join(TARGETS)}, or --device-table FILE, which zcpt"
            " profile writes"
        )
    if config.device_table and config.max_energy_mj is not None:
        raise UserError("--device-table has latencies, no energy: leave out --max-energy-mj")
    if (config.target or config.device_table) and not of_device:
        raise UserError("--device of a target and --device-table are for a limit: give --max-latency-ms")


def flags_of(limited: Iterable[Resource]) -> str:
    """The flags that limit these resources."""
    return " and ".join("--" + resource.field.replace("_", "-") for resource in limited)


def smoke(config: SearchConfig) -> SearchConfig:
    """The same search, as small as it goes: it shows that everything runs, not what the method finds.

    Seconds on one CPU core, a minute or two where gradients or a trained supernet are asked often.
    """
    proxy, judge = _proxies(config, lookup(SCORINGS, config.scoring, "scoring"))
    training = dataclasses.replace(config.training, epochs=1, retrain_epochs=1, max_images=16, training_batch_size=8)
    if config.finalist_source == "training":
        config = dataclasses.replace(config, finalist_epochs=1, finalist_images=64)
    return dataclasses.replace(
        config,
        space=find_space(config.space).smoke_name,
        num_proposals=min(config.num_proposals, 2),
        num_validations=min(config.num_validations, 3),
        finalists=min(config.finalists, 2),
        batch_size=max(4, proxy.images_needed(), judge.images_needed()),
        evaluations=8,
        training=training,
    )
