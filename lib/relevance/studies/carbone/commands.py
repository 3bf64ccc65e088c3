"""The commands of the authors' released code, and the call of this book that does the same.

Facts of its README (github.com/ginevracoal/BayesianRelevance at c15cd6a); its code is not used.
"""

from __future__ import annotations

import json
import re
from typing import Any

from relevance.base import checks

# Its --model_idx -> what is meant, by the README and its model_settings.py.
MODELS: dict[int, dict[str, Any]] = {
    0: {"dataset": "mnist", "architecture": "convolutional", "method": "variational", "hidden": 512, "epochs": 5},
    1: {"dataset": "fashion_mnist", "architecture": "convolutional", "method": "variational", "hidden": 1024, "epochs": 15},
    2: {"dataset": "mnist", "architecture": "fully_connected", "method": "hmc", "hidden": 512, "epochs": 15},
    3: {"dataset": "fashion_mnist", "architecture": "fully_connected", "method": "hmc", "hidden": 1024, "epochs": 15},
}  # fmt: skip
SAMPLERS = {
    "hmc": {"warmup": 100, "prior_scale": 0.1},
    "variational": {"prior_scale": 0.1},
}
ATTACKS = {
    "fgsm": "FGSM", "pgd": "PGD", "topk": "top-k", "region": "target region", "beta": "target map",
}  # fmt: skip
RULES = {"epsilon": "epsilon", "gamma": "gamma", "alpha1beta0": "alpha-beta"}
# Its scripts -> the chapter that does the same; one call trains, attacks, explains and draws.
SCRIPTS = {
    "train_networks.py": "experiments/layers",
    "attack_networks.py": "experiments/layers",
    "compute_lrp.py": "experiments/layers",
    "lrp_robustness_diff.py": "experiments/layers",
    "lrp_heatmaps_layers.py": "method/lrp-robustness",
    "lrp_heatmaps_det_vs_bay.py": "method/lrp-robustness",
    "lrp_rules_robustness_main.py": "experiments/rules",
    "lrp_robustness_scatterplot.py": "experiments/softmax-robustness",
    "full_test_cifar_resnet.py": "experiments/cifar10",
    "full_test_cifar_adversarial_resnet.py": "experiments/cifar10",
    "full_test_cifar_bayesian_resnet.py": "experiments/cifar10",
}
COMMANDS = (
    ("train", "python train_networks.py --model=baseNN --model_idx=0"),
    ("train", "python train_networks.py --model=fullBNN --model_idx=2 --device=cpu"),
    ("train", "python train_networks.py --model=advNN --model_idx=3"),
    ("attack", "python attack_networks.py --model=baseNN --model_idx=0 --attack_method=fgsm --n_inputs=500"),
    ("attack", "python attack_networks.py --model=fullBNN --model_idx=2 --attack_method=pgd --n_inputs=500 --n_samples=10"),
    ("explain", "python compute_lrp.py --model=baseNN --model_idx=0 --attack_method=fgsm --n_inputs=500 --rule=epsilon"),
    ("explain", "python compute_lrp.py --model=fullBNN --model_idx=2 --attack_method=fgsm --n_inputs=500 --rule=gamma"),
    ("plot", "python lrp_heatmaps_det_vs_bay.py --n_inputs=500 --model_idx=2 --topk=30 --n_samples=100 --attack_method=fgsm"),
    ("plot", "python lrp_heatmaps_layers.py --model=baseNN --model_idx=0 --n_inputs=500 --topk=30 --attack_method=fgsm"),
    ("plot", "python lrp_robustness_diff.py --n_inputs=500 --model_idx=1 --attack_method=fgsm --rule=epsilon"),
    ("plot", "python lrp_robustness_diff.py --n_inputs=500 --model_idx=3 --attack_method=pgd --rule=epsilon"),
    ("plot", "python lrp_rules_robustness_main.py --n_inputs=500 --topk=20 --n_samples=100 --attack_method=fgsm"),
    ("plot", "python lrp_robustness_scatterplot.py --n_inputs=500 --model_idx=0 --attack_method=fgsm --rule=epsilon"),
    ("plot", "python lrp_robustness_scatterplot.py --n_inputs=500 --model_idx=2 --attack_method=pgd --rule=epsilon"),
    ("train", "python full_test_cifar_bayesian_resnet.py --mode=train --test_inputs=500"),
    ("attack", "python full_test_cifar_bayesian_resnet.py --mode=test --test_inputs=500 --attack_method=fgsm"),
)  # fmt: skip


def parameters(command: str) -> tuple[str, dict[str, Any]]:
    """Return the chapter that does what a command of the released code does, and the parameters to execute it with.

    Args:
        command: ``python <script> --flag=value ...``.

    Raises:
        ValueError: a script, a flag or a value is not of the released code's README.
    """
    words = command.split()
    script = checks.one_of("script", words[1] if len(words) > 1 else "", SCRIPTS)
    flags = dict(re.findall(r"--(\w+)=(\S+)", command))
    chapter = SCRIPTS[script]
    chosen: dict[str, Any]
    if chapter == "experiments/cifar10":
        chosen = {
            "dataset": "cifar10",
            "n_train": 50_000,
            "hidden": 16,
            "epochs": 30,
            "n_draws": 100,
            "n_samples": [100],
        }
    else:
        index = checks.one_of("--model_idx", flags.get("model_idx", "2"), map(str, MODELS))
        chosen = {"n_train": 60_000, "n_draws": 100, **MODELS[int(index)]}
        chosen["sampler"] = SAMPLERS[chosen["method"]]
    chosen["epsilon"] = 0.2
    one_model = chapter == "method/lrp-robustness"
    for flag, value in flags.items():
        if flag in {"n_inputs", "test_inputs"}:
            chosen["n_images"] = int(value)
        elif flag == "n_samples":
            chosen |= {"n_draws": int(value)} if one_model else {"n_samples": [int(value)]}
        elif flag == "topk":
            chosen["top_percent"] = int(value)
        elif flag == "attack_method" and not one_model:
            chosen["attacks"] = [ATTACKS[checks.one_of("--attack_method", value, ATTACKS)]]
        elif flag == "rule" and not one_model:
            chosen["rules"] = [RULES[checks.one_of("--rule", value, RULES)]]
    if one_model:
        # This chapter compares two dense networks, and takes the sampler's settings one by one.
        chosen |= chosen.pop("sampler") if chosen["method"] == "hmc" else {}
        chosen = {name: value for name, value in chosen.items() if name not in {"architecture", "method", "sampler"}}
    return chapter, chosen


def call(command: str) -> str:
    """Return the papermill call that does what a command of the released code does."""
    chapter, chosen = parameters(command)
    plain = [f"-p {name} {value}" for name, value in chosen.items() if not isinstance(value, (list, dict))]
    nested = {name: value for name, value in chosen.items() if isinstance(value, (list, dict))}
    # JSON is YAML, which is what papermill reads here.
    yaml = [f"-y '{json.dumps({name: value})}'" for name, value in nested.items()]
    device = "RELEVANCE_DEVICE=cpu " if "--device=cpu" in command else ""
    notebook = chapter.rpartition("/")[2]
    return " \\\n    ".join([f"{device}papermill {notebook}.ipynb out.ipynb", *plain, *yaml])


def page() -> str:
    """Return all commands, each with its call, as Markdown."""
    parts = []
    for step, command in COMMANDS:
        parts.append(f"**{step}**\n\n```sh\n{command}\n```\n\nhere\n\n```sh\n{call(command)}\n```\n")
    return "\n".join(parts)
