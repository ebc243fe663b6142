"""Both names of a bank, and why two differ: what is known outside a container, and what is read inside. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdxl_runtime.bank.identity import differences
from sdxl_runtime.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Named:
    """An identity, its fields, and where it was found."""

    where: str
    identity: str
    fields: Mapping[str, str]
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of a bank's names from where a command runs."""

    bank: str
    """The SDXLTuneBank; empty where the environment does not name one."""
    outside: Mapping[str, str]
    """What its name is a hash of."""
    inside: Named
    others: Sequence[Named]
    """Other identities: on the volume, accepted, or asked for."""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        outside = {"outside": {"name": self.bank, "spec": dict(self.outside)}} if self.bank else {}
        inside = {"identity": self.inside.identity, "fields": dict(self.inside.fields)}
        return {**outside, "inside": inside, "others": [self._compared(other) for other in self.others]}

    def _compared(self, other: Named) -> dict[str, Any]:
        names = sorted({*self.inside.fields, *other.fields})
        pairs = {name: (self.inside.fields.get(name), other.fields.get(name)) for name in names}
        differing = {name: {"here": here, "there": there} for name, (here, there) in pairs.items() if here != there}
        found = {"where": other.where, "identity": other.identity, "entries": other.entries}
        return {**found, "differences": differing}

    def text(self) -> str:
        """For people."""
        lines = [f"known outside: {f'SDXLTuneBank {self.bank}' if self.bank else 'nothing, SDXL_BANK_NAME is empty'}"]
        lines += _indented(self.outside)
        lines += ["", f"read inside: identity {self.inside.identity}", *_indented(self.inside.fields)]
        for other in self.others:
            lines += ["", f"{other.where}: identity {other.identity}{_count(other.entries)}", f"  {self._why(other)}"]
        return "\n".join(lines)

    def _why(self, other: Named) -> str:
        if other.identity == self.inside.identity:
            return "the same as inside: its entries can be loaded here"
        return f"not usable here: {differences(self.inside.fields, other.fields) or 'its fields are not known'}"


def outside(name: str, spec: str) -> dict[str, str]:
    """What an SDXLTuneBank's name is a hash of, flat: `model.source`, `precision`, …

    Raises:
        SettingsError: `spec` is no JSON object.
    """
    if not name or not spec:
        return {}
    try:
        return dict(_flat(dict(json.loads(spec)), ""))
    except (ValueError, TypeError):
        raise SettingsError(f"SDXL_BANK_SPEC is {spec!r}; it must be an SDXLTuneBank's spec as JSON") from None


def _flat(item: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in sorted(item.items()):
        found += _flat(value, f"{path}{name}.") if isinstance(value, dict) else [(f"{path}{name}", str(value))]
    return found


def _indented(fields: Mapping[str, str]) -> list[str]:
    width = max(map(len, fields), default=0)
    return [f"  {name.ljust(width)}  {value}" for name, value in fields.items()]


def _count(entries: int) -> str:
    return {0: "", 1: ", 1 entry"}.get(entries, f", {entries} entries")
