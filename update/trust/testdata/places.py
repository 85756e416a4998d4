"""One place of a document after the other: what is done to it, and what must come of it."""

import base64
import copy
import json
import random
import sys

from repository import NOW, Pairs, Raw, Repository, SAMPLES, SIGNERS, encode, envelope, meaning, root, text
from rules import Rule, WRONG

ROOT = "2.root.json"


class Suite:
    def __init__(self):
        self.meanings, self.envelopes = {}, {}
        self.random = random.Random(2)
        self.old = Repository(1, False)
        self.new = {"V": Repository(2, False), "H": Repository(2, True)}
        self.next = {"V": Repository(3, False), "H": Repository(3, True)}
        self.root1 = encode(envelope(root(1), "r1 r2"))
        self.root2 = encode(envelope(root(2), SIGNERS["root"]), 1)
        base = self.new["V"]
        self.base = self.mean(base.docs["targets"], base.docs["content"], base.operators)
        self.files = {w: dict(r.files, **{ROOT: self.root2, "operators.json": encode(r.operators)}) for w,
            r in self.new.items()}

    # Output.

    def write(self, value):
        sys.stdout.write(json.dumps(value, separators=(",", ":"), sort_keys=True) + "\n")

    def header(self):
        kept = {k.split(".")[-2]: v for k, v in self.old.files.items()}
        states = {"S1": dict(kept, root=self.root1),
                  "S2": {"root": self.root2, "timestamp": kept["timestamp"], "snapshot": kept["snapshot"]}}
        b64 = lambda files: {k: base64.b64encode(v).decode() for k, v in files.items()}
        old = meaning(self.old.docs["targets"], self.old.docs["content"], self.old.operators)
        self.write({"now": NOW, "states": {k: b64(v) for k, v in states.items()}, "samples": SAMPLES, "old": old,
                    "worlds": {k: b64(v) for k, v in self.files.items()}, "base": self.base})

    def mean(self, targets, content, ops):
        return meaning(targets, content, ops)

    def case(self, c, f, p, d, k, w, x, want, means=None):
        want = sorted({want} if isinstance(want, str) else want)
        number = None
        if "ok" in want:
            key = json.dumps(self.base if means is None else means, sort_keys=True)
            if key not in self.meanings:
                self.meanings[key] = len(self.meanings)
                self.write({"meaning": json.loads(key), "n": self.meanings[key]})
            number = self.meanings[key]
        self.write({"c": c, "f": f, "p": ".".join(map(str, p)), "d": str(d)[:60], "k": k, "w": w,
            "s": "S1" if f == "root" else "S2",
                    "x": {n: b if isinstance(b, list) else base64.b64encode(b).decode() for n,
                        b in x.items()}, "want": want, "m": number})

    # The signed part of a file.

    def doc(self, f, w="V"):
        return root(2) if f == "root" else self.new[w].operators if f == "operators" else self.new[w].docs[f]

    def signed(self, f, doc, w):
        """The files with a document signed by the right keys, and what they mean."""
        r = self.new[w]
        docs = dict(r.docs, operators=r.operators)
        if f == "root":
            return {ROOT: encode(envelope(doc, SIGNERS["root"]), 1)}, docs
        if f == "operators":
            x, docs["targets"] = r.with_operators(encode(doc))
        else:
            x = r.signed(f, doc)
        docs[f] = doc
        return x, docs

    def resigned(self, c, f, p, d, doc, want, w):
        x, docs = self.signed(f, doc, w)
        means = self.mean(docs["targets"], docs["content"], docs["operators"]) if "ok" in want and f in docs else None
        self.case(c, f, p, d, "signed", w, x, want, means)

    def stale(self, c, f, p, d, doc, want, w):
        """The document with the signatures of the right one."""
        if f == "operators":
            return self.case(c, f, p, d, "stale", w, {"operators.json": encode(doc)}, "mismatch")
        signers = SIGNERS[f]
        if (f, w) not in self.envelopes:
            self.envelopes[f, w] = envelope(self.doc(f, w), signers)
        whole = dict(self.envelopes[f, w], signed=doc)
        raw = encode(whole, 1 if f in ("root", "targets") else None)
        if f == "root":
            return self.case(c, f, p, d, "stale", w, {ROOT: raw}, want)
        r = self.new[w]
        if w == "H" and f != "timestamp":
            self.case(c, f, p, d, "stale", w, {r.name(f): raw}, "mismatch" if raw != self.files[w][r.name(f)] else "ok")
        self.case(c, f, p, d, "stale", w, r.changed(f, raw), want)

    # One place after the other.

    def fields(self):
        for f in ["root", "timestamp", "snapshot", "targets", "content", "operators"]:
            for w in ("V", "H") if f in ("timestamp", "snapshot") else "V":
                for p, v in places(self.doc(f, w)):
                    self.field(f, w, p, v)

    def field(self, f, w, p, v):
        doc = self.doc(f, w)
        rule = Rule(f, p, v, doc)

        def both(c, d, changed, want, stale="signature"):
            self.resigned(c, f, p, d, changed, want, w)
            self.stale(c, f, p, d, changed, stale, w)

        both("delete", "", replaced(doc, p, None, delete=True), rule.delete())
        both("null", "", replaced(doc, p, None), rule.null())
        if v != (empty := type(v)()) and not isinstance(v, bool):
            both("empty", repr(empty), replaced(doc, p, empty), rule.empty())
        for bad in WRONG[type(v)]:
            float_ = isinstance(bad, Raw)
            both("wrong type", text(bad), replaced(doc, p, bad), "format", "format" if float_ else "signature")
        if isinstance(p[-1], str):
            same, other = [(p[-1], v)] * 2, [(p[-1], WRONG[type(v)][0]), (p[-1], v)]
            for d, pair in (("same", same), ("other first", other), ("other last", other[::-1])):
                both("duplicate", d, replaced(doc, p, pair, members=True), "format", "format")
            name = p[-1].swapcase().replace(".JSON", ".json")
            if name != p[-1]:
                both("case", name, replaced(doc, p, [(name, v)], members=True), rule.renamed(name))
                both("case", "both", replaced(doc, p, [(p[-1], v), (name, v)], members=True), rule.doubled(name))
        if isinstance(v, str) and v.swapcase() != v:
            both("case", "value", replaced(doc, p, v.swapcase()), rule.case())
        if isinstance(v, (dict, list)) and len(v) > 1:
            turned = Pairs(list(v.items())[::-1]) if isinstance(v, dict) else v[::-1]
            both("reorder", "", replaced(doc, p, turned), rule.reorder(), "ok" if isinstance(v, dict) else "signature")
        if isinstance(v, dict) and not rule.named:
            both("extra", "x-new", replaced(doc, p, dict(v, **{"x-new": {"a": [1, None, "\u2028"]}})), rule.extra())
        for c, d, value, want in rule.more():
            both(c, d, replaced(doc, p, value), want, "format" if isinstance(value, Raw) else "signature")
        for n, other in (("before", self.old), ("after", self.next[w])):
            o = {"root": root(1), "operators": other.operators}.get(f) or other.docs[f]
            try:
                for step in p:
                    o = o[step]
            except (KeyError, IndexError):
                continue
            if o != v and type(o) is type(v):
                self.stale("swap", f, p, n, replaced(doc, p, o), "signature", w)


def places(v, path=()):
    if path:
        yield list(path), v
    for k, x in v.items() if isinstance(v, dict) else enumerate(v) if isinstance(v, list) else ():
        yield from places(x, path + (k,))


def replaced(doc, path, value, delete=False, members=False):
    """A copy of doc with another value at the path, none, or other members where there was one."""
    if not path:
        return copy.deepcopy(value)
    step, rest = path[0], path[1:]
    if isinstance(doc, dict):
        if rest or not (delete or members):
            return {k: replaced(x, rest, value, delete, members) if k == step else x for k, x in doc.items()}
        out = Pairs()
        for k, x in doc.items():
            out.extend(([] if delete else copy.deepcopy(value)) if k == step else [(k, x)])
        return dict(out) if delete else out
    return [y for i, x in enumerate(doc) for y in ([x] if i != step else [] if delete and not rest else
                                                   [replaced(x, rest, value, delete, members)])]
