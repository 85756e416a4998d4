"""A repository of updates in three releases, as TUF lays it out, and what it means. Independent of the code it tests."""

import copy
import functools
import hashlib
import json

from ed25519 import Key

NOW = "2026-06-01T12:00:00Z"
LATER = "2027-06-01T00:00:00Z"


@functools.lru_cache(None)
def quoted(s):
    return json.dumps(s, ensure_ascii=False)


class Pairs(list):
    """An object whose members are in this order, and may stand twice."""


class Raw(str):
    """A value as it is to be written."""


def text(v, indent=None, depth=0):
    """JSON, also where it is none."""
    if isinstance(v, Raw):
        return str(v)
    if isinstance(v, (dict, Pairs, list, tuple)):
        items = v.items() if isinstance(v, dict) else v
        if isinstance(v, (dict, Pairs)):
            marks, items = "{}", [quoted(k) + ":" + ("" if indent is None else " ") + text(x, indent, depth + 1) for k,
                x in items]
        else:
            marks, items = "[]", [text(x, indent, depth + 1) for x in items]
        if indent is None or not items:
            return marks[0] + ",".join(items) + marks[1]
        gap = "\n" + " " * indent * (depth + 1)
        return marks[0] + gap + ("," + gap).join(items) + "\n" + " " * indent * depth + marks[1]
    return quoted(v) if isinstance(v, str) else json.dumps(v)


def canonical(v):
    """OLPC's canonical JSON. Of doubles the last counts, and what has no canonical form is written as it is: a signer who
    means harm signs anything."""
    if isinstance(v, Raw):
        try:
            v = json.loads(v)
        except ValueError:
            return str(v)
    if isinstance(v, (dict, Pairs)):
        members = sorted(dict(v).items())
        return "{" + ",".join(canonical(k) + ":" + canonical(x) for k, x in members) + "}"
    if isinstance(v, (list, tuple)):
        return "[" + ",".join(canonical(x) for x in v) + "]"
    if isinstance(v, str):
        return '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return json.dumps(v)


def key_object(key):
    return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": key.public.hex()}}


def key_id(key):
    return hashlib.sha256(canonical(key_object(key)).encode()).hexdigest()


KEYS = {n: Key(n) for n in "r1 r2 r3 r4 ts sn ta tb tc td co stranger alice bob".split()}
IDS = {n: key_id(k) for n, k in KEYS.items()}
ROOT_KEYS = {1: {"root": "r1 r2 r3", "timestamp": "ts", "snapshot": "sn", "targets": "ta tb"},
             2: {"root": "r1 r2 r4", "timestamp": "ts", "snapshot": "sn", "targets": "tb tc td"}}
THRESHOLD = {"root": 2, "targets": 2}
SIGNERS = {"root": "r1 r2 r3 r4", "timestamp": "ts", "snapshot": "sn", "targets": "tb tc", "content": "co"}


def head(kind, version):
    return {"_type": kind, "spec_version": "1.0.31", "version": version, "expires": LATER}


def root(version):
    roles = ROOT_KEYS[version]
    names = sorted(set(" ".join(roles.values()).split()))
    return dict(head("root", version), consistent_snapshot=True, keys={IDS[n]: key_object(KEYS[n]) for n in names},
                roles={r: {"keyids": [IDS[n] for n in k.split()], "threshold": THRESHOLD.get(r, 1)} for r,
                    k in roles.items()})


def envelope(signed, signers):
    message = canonical(signed).encode("utf-8", "surrogatepass")
    return {"signed": signed, "signatures": [{"keyid": IDS[n],
        "sig": KEYS[n].sign(message).hex()} for n in signers.split()]}


def encode(doc, indent=None):
    return (text(doc, indent) + ("\n" if indent else "")).encode("utf-8", "surrogatepass")


def described(body):
    return {"length": len(body), "hashes": {"sha256": hashlib.sha256(body).hexdigest()}}


def target(body, custom=None):
    t = described(body.encode() if isinstance(body, str) else body)
    return t if custom is None else dict(t, custom=custom)


def system(n):
    return {"compatible": ["gateway-v2", "gateway-v3"], "seq": 6 + n, "security_floor": 2,
        "release": "gateway/%d.0" % n,
            "from": ["gateway/0.8", "gateway/0.9"], "min_agent": "1.0.0", "issued": "2026-05-0%dT00:00:00Z" % n,
            "wave": [{"after": "2026-05-1%dT00:00:00Z" % n, "permille": 10}, {"after": "2026-05-2%dT00:00:00Z" % n,
                "permille": 1000}],
            "downgrade_max_seq": 20 + n}


def agent(n):
    return dict({k: v for k, v in system(n).items() if k not in ("downgrade_max_seq", "from")}, kind="agent",
        arch="armv7",
                release="agent/1.%d.0" % n)


def rules(n):
    return {"kind": "content", "compatible": ["gateway-v2"], "seq": n, "release": "rules/%d" % n, "min_agent": "1.0.0",
            "issued": "2026-05-0%dT12:00:00Z" % n, "wave": [{"after": "2026-05-1%dT00:00:00Z" % n, "permille": 1000}]}


def operators(n):
    return {"format": 1, "operators": [
        {"name": "alice", "key": KEYS["alice"].public.hex(), "verbs": ["unit.*", "relay.set"]},
        {"name": "bob", "key": KEYS["bob"].public.hex(), "verbs": ["*"] if n > 1 else ["power.reboot"]}]}


MESSAGE = b'{"device":"gw-1","id":"x","name":"unit.restart","seq":1}'
SAMPLES = [{"name": n, "verb": v, "message": MESSAGE.decode(), "signature": KEYS[by].sign(MESSAGE).hex(), "by": by}
           for n, v, by in [("alice", "unit.restart", "alice"), ("alice", "relay.set", "alice"), ("alice",
               "power.reboot", "alice"),
                            ("bob", "power.reboot", "bob"), ("alice", "unit.restart", "bob"), ("bob", "unit.restart",
                                "stranger")]]


class Repository:
    """Release n. With hashes, timestamp and snapshot carry them and lengths; without, versions alone."""

    order = ["content", "targets", "snapshot", "timestamp"]

    def __init__(self, n, hashes):
        v = 9 + n
        self.hashes, self.version = hashes, v
        self.signers = dict(SIGNERS, targets="ta tb") if n == 1 else SIGNERS
        self.operators = operators(n)
        both = "released in %d" % n
        self.docs = {
            "timestamp": dict(head("timestamp", v), meta={"snapshot.json": {"version": v}}),
            "snapshot": dict(head("snapshot", v), meta={"targets.json": {"version": v},
                "content.json": {"version": v}}),
            "targets": dict(head("targets", v), targets={
                "gateway/1.0.json": target("manifest 1", system(1)), "gateway/%d.0.json" % n: target("manifest %d" % n,
                    system(n)),
                "channel/stable.json": target(both, system(n)), "agent/armv7.json": target(both, agent(n)),
                "operators.json": target(encode(self.operators))},
                delegations={"keys": {IDS["co"]: key_object(KEYS["co"])}, "roles": [
                    {"name": "content", "keyids": [IDS["co"]], "threshold": 1, "terminating": False,
                     "paths": ["content/*", "content/*/*"]}]}),
            "content": dict(head("targets", v), targets={"content/rules.json": target(both, rules(n))}),
        }
        self.indent = {"targets": 1}
        self.files = {}
        for role in self.order:
            self.publish(role, self.files, self.docs)

    def name(self, role):
        return "timestamp.json" if role == "timestamp" else "%d.%s.json" % (self.version, role)

    def publish(self, role, files, docs):
        files[self.name(role)] = encode(envelope(docs[role], self.signers[role]), self.indent.get(role))
        self.describe(role, files, docs)

    def describe(self, role, files, docs):
        above = {"content": "snapshot", "targets": "snapshot", "snapshot": "timestamp"}.get(role)
        if above and self.hashes:
            docs[above]["meta"][role + ".json"].update(described(files[self.name(role)]))

    def changed(self, role, raw):
        """The files that are others when this one is: with hashes, those above it are signed anew."""
        files, docs = {self.name(role): raw}, self.docs
        if self.hashes and role != "timestamp":
            docs = copy.deepcopy(docs)
            self.describe(role, files, docs)
            above = "timestamp" if role == "snapshot" else "snapshot"
            self.publish(above, files, docs)
            if above == "snapshot":
                self.publish("timestamp", files, docs)
        return files

    def signed(self, role, doc):
        """The files when a document is replaced and signed by whom it is to be signed by."""
        return self.changed(role, encode(envelope(doc, self.signers[role]), self.indent.get(role)))

    def with_operators(self, raw):
        doc = copy.deepcopy(self.docs["targets"])
        doc["targets"]["operators.json"] = target(raw)
        return dict(self.signed("targets", doc), **{"operators.json": raw}), doc


def release_meaning(custom):
    if custom is None:
        return None
    g = custom.get
    return {"kind": g("kind", "system"), "compatible": sorted(g("compatible")), "seq": g("seq"),
        "floor": g("security_floor", 0),
            "release": g("release"), "from": sorted(g("from", [])), "wave": [[w["after"],
                w["permille"]] for w in g("wave", [])],
            "min_agent": g("min_agent", "0.0.0"), "issued": g("issued"), "arch": g("arch",
                ""), "permit": g("downgrade_max_seq", 0)}


def covers(pattern, name):
    p, n = pattern.split("/"), name.split("/")
    return len(p) == len(n) and all(a in ("*", b) for a, b in zip(p, n))


def plain(v):
    """Without the order and the doubles."""
    if isinstance(v, (dict, Pairs)):
        return {k: plain(x) for k, x in dict(v).items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    return v


def meaning(targets, content, ops):
    """What a device may take the release for, when all is well with it."""
    targets, content, ops = plain(targets), plain(content), plain(ops)
    found = {}

    def add(role, name, t):
        found[name] = {"role": role, "length": t["length"], "sha256": t["hashes"]["sha256"],
            "release": release_meaning(t.get("custom"))}

    for name, t in targets["targets"].items():
        add("targets", name, t)
    for role in targets.get("delegations", {"roles": []})["roles"]:
        for name, t in content["targets"].items():
            if role["name"] == "content" and name not in found and any(covers(p, name) for p in role["paths"]):
                add("content", name, t)

    def may(s):
        for o in ops["operators"]:
            if o["name"] == s["name"]:
                verbs = o["verbs"]
                return o["key"] == KEYS[s["by"]].public.hex() and any(
                    v == s["verb"] or v[-1] == "*" and s["verb"].startswith(v[:-1]) for v in verbs)
        return False

    if "operators.json" in found:
        found["operators.json"]["may"] = [may(s) for s in SAMPLES]
    return found
