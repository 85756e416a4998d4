"""What must come of a change to one place of a document, when it is signed by the right keys."""

import re

import ed25519
from repository import IDS, NOW, Raw, SIGNERS

WRONG = {str: [7, True, [], {}], int: ["7", Raw("1.5"), True, [], {}], bool: ["true", 1, [], {}], dict: [[], "x", 1,
    False],
         list: [{}, "x", 1, False]}
HOSTILE = ["../x", "/etc/passwd", "x//y", "x/./y", "x/../y", "..", ".", ".x", "x/", "x\\y", "x\x00y", "x\ny", "\u00e9",
    "x y", "%2e%2e",
           "x:y", "<x>", "x|y", "$(x)", "`x`", "x;y", "x" * 300, "\u202ex", "\ufeffx", " "]
FAR = "2999-12-31T23:59:59Z"
PAST = "2020-01-01T00:00:00Z"


class Rule:
    """One place of one document. Its methods name outcomes: "ok", or the class of the refusal."""

    def __init__(self, f, p, v, doc):
        self.f, self.p, self.v, self.doc = f, p, v, doc
        path = ".".join("*" if isinstance(s, int) or n and self.map(p[:n]) else s for n, s in enumerate(p))
        self.path, self.last = path, path.split(".")[-1]
        self.named = self.map(p) or p[-1] == "hashes"
        self.custom = "custom" in p and p[-1] != "custom"
        self.of = "operators" == f

    def map(self, p):
        """Members of this place have names that are not fixed."""
        return p[-1] in ("keys", "meta") or p == ["targets"]

    def member(self):
        """In custom: what the member is called, and the kind of release."""
        i = self.p.index("custom")
        return self.p[i + 1], self.kind(self.p[:i + 1])

    def kind(self, p):
        v = self.doc
        for s in p:
            v = v[s]
        return v.get("kind", "system")

    def key_role(self):
        """keyids: the role they belong to."""
        return self.p[1] if self.f == "root" else "content"

    def delete(self):
        path, f = self.path, self.f
        if self.custom:
            return self.deleted_custom()
        if self.of:
            if path == "operators.*.verbs.*":
                return "ok" if len(self.parent()) > 1 else "format"
            return {"operators.*": "ok", "operators.*.key": "key"}.get(path, "format")
        if self.last in ("keys", "keytype", "scheme", "keyval", "public") or re.fullmatch(r"(delegations\.)?keys\.\*",
            path):
            return "key"
        if path == "_type":
            return "type"
        if path == "consistent_snapshot":
            return "notfound"
        if path.endswith("keyids.*"):
            role, rest = self.key_role(), [k for i, k in enumerate(self.parent()) if i != self.p[-1]]
            return self.signable(role, rest)
        if f in ("timestamp", "snapshot") and self.last in ("length", "hashes"):
            return "ok"
        if path == "meta.*":
            return "rollback" if self.p[-1] == "content.json" else "format"
        if path in ("targets.*", "delegations", "delegations.roles.*", "delegations.roles.*.terminating",
            "delegations.roles.*.paths.*"):
            return "ok"
        return "ok" if self.last == "custom" else "format"

    def parent(self):
        v = self.doc
        for s in self.p[:-1]:
            v = v[s]
        return v

    def signable(self, role, ids):
        """A role that is left with these keys."""
        need = {"root": 2, "targets": 2}.get(role, 1)
        if len(ids) < need:
            return "format"
        return "ok" if sum(IDS[n] in ids for n in SIGNERS[role].split()) >= need else "signature"

    def deleted_custom(self):
        member, kind = self.member()
        if self.last == "*":
            lists = self.parent()
            return "ok" if len(lists) > 1 or member == "from" else "format"
        if len(self.p) - self.p.index("custom") > 2:
            return "format"  # of a wave
        return "ok" if member in ("from", "downgrade_max_seq") or kind == "content" and member in ("wave",
            "min_agent") else "format"

    def null(self):
        return "key" if self.last == "keys" else "format"

    def empty(self):
        path = self.path
        if self.custom:
            member, kind = self.member()
            if self.last == "permille":
                return "ok" if self.p[-2] == 0 else "format"
            return "ok" if path.endswith("custom.from") else "format"
        if self.of:
            return {"operators": "ok", "operators.*": "key", "operators.*.key": "key"}.get(path, "format")
        if self.last in ("keys", "keytype", "scheme", "keyval", "public") or re.fullmatch(r"(delegations\.)?keys\.\*",
            path):
            return "key"
        if path == "_type":
            return "type"
        if path.endswith("keyids.*"):
            return "key"
        if path == "targets.*.length":
            return "mismatch" if self.p[1] == "operators.json" else "ok"
        return "ok" if path in ("targets", "delegations.roles") else "format"

    def renamed(self, name):
        """The member's name in another case."""
        path = self.path
        if re.fullmatch(r"(delegations\.)?keys\.\*", path):
            return "key"
        if path == "meta.*":
            return "rollback" if self.p[-1] == "content.json" else "format"
        return "ok" if path == "targets.*" else "format"

    def doubled(self, name):
        """The member beside one whose name differs in case only."""
        path = self.path
        if re.fullmatch(r"(delegations\.)?keys\.\*", path) or path == "targets.*":
            return "ok"
        return "ok" if path == "meta.*" and self.f == "snapshot" else "format"

    def case(self):
        path = self.path
        if self.custom:
            return "format" if self.last in ("kind", "issued", "after") else "ok"
        if self.of:
            return "key" if self.last == "key" else "ok"
        if self.last in ("keytype", "scheme", "public") or path.endswith("keyids.*"):
            return "key"
        if path == "_type":
            return "type"
        return "ok" if self.last == "name" or path.endswith("paths.*") else "format"

    def reorder(self):
        return "format" if self.last == "wave" else "ok"

    def extra(self):
        return "format" if self.of or "custom" in self.p else "ok"

    def more(self):
        """Values of the kind that the place takes."""
        path, last = self.path, self.last
        if path == "version":
            yield from self.versions()
        elif path == "meta.*.version":
            yield from (("version", n, n, "format") for n in (-1, 0, Raw(str(2**53 + 1)), Raw("1e1"), Raw("11.0"),
                Raw("-0")))
            yield "version", 9, 9, "rollback"
            if self.f == "timestamp" or self.p[1] == "targets.json":
                yield "version", "max", 2**53, "notfound"
        elif last in ("expires", "issued", "after"):
            yield from self.dates()
        elif last == "threshold":
            yield from self.thresholds()
        elif last == "public" or self.of and last == "key":
            for k in ed25519.weak():
                yield "wrong key", "weak", k.hex(), "key"
            for bad in (self.v[:-2], self.v + "00", "z" + self.v[1:], " " + self.v[1:], "0x" + self.v[2:]):
                yield "wrong key", bad[:4], bad, "key"
        elif last in ("sha256",) or last == "length":
            yield from self.sums()
        elif last == "spec_version":
            for s in ("2.0.0", "0.9", "1", "1.", "1.x", "11.0.0", " 1.0.31", "1.0.31.4", "1.0.31-rc"):
                yield "version", s, s, "format"
            yield "version", "1.0", "1.0", "ok"
        elif last == "_type":
            for s in sorted({"root", "timestamp", "snapshot", "targets", "mirrors", self.v + " "} - {self.v}):
                yield "swap role", s, s, "type"
        elif last in ("seq", "security_floor", "permille", "downgrade_max_seq", "format"):
            for n in (-1, Raw(str(2**53 + 1)), Raw("1e1"), Raw("7.0"), Raw("-0"), Raw("07")):
                yield "version", n, n, "format"
            if last == "security_floor":
                yield "version", "above seq", 100, "format"
            if last == "permille":
                yield "version", 1001, 1001, "format"
            if last == "downgrade_max_seq":
                yield "version", "seq", 1, "format"
        yield from self.hostile()

    def versions(self):
        for n in (-1, 0, Raw(str(2**53 + 1)), Raw("1e1"), Raw("11.0"), Raw("-0")):
            yield "version", n, n, "format"
        v = self.v
        if self.f == "root":
            yield from (("version", n, n, "rollback" if n < 2 else "mismatch") for n in (1, 3, 2**53))
        elif self.f == "timestamp":
            yield from (("version", n, n, w) for n, w in ((v - 2, "rollback"), (v + 1, "ok"), (2**53, "ok")))
        else:
            yield from (("version", n, n, "mismatch") for n in (1, v - 1, v + 1, 2**53))

    def dates(self):
        times = ("2027-06-01,2027-06-01T00:00:00,2027-06-01T00:00:00+00:00,2027-06-01T00:00:00z,2027-06-01t00:00:00Z,"
                 "2027-06-01 00:00:00Z,2027-06-01T00:00:00Z ,2027-06-01T0:00:00Z,2027-06-01T24:00:00Z,"
                 "2027-02-29T00:00:00Z,2027-06-31T00:00:00Z,2027-06-01T00:00:00.50Z,27-06-01T00:00:00Z,"
                 "0001-01-01T00:00:00Z,+12027-06-01T00:00:00Z,never,0").split(",")
        for s in times + ["2027-06-01T00:00:00,5Z"]:
            yield "expiry", s, s, "format"
        if self.last == "expires":
            yield from (("expiry", s, s, "expired") for s in (PAST, NOW, "0000-01-01T00:00:00Z"))
            yield from (("expiry", s, s, "ok") for s in (FAR, "2026-06-01T12:00:01Z", "2026-06-01T12:00:00.000000001Z"))
        if self.last == "issued":
            yield "expiry", FAR, FAR, "ok"

    def thresholds(self):
        for n in (-1, 0, 100, 2**53, Raw(str(2**53 + 1)), Raw("1.0"), Raw("-0")):
            yield "threshold", n, n, "format"
        role = self.p[1] if self.f == "root" else "content"
        keys = {"root": 3, "targets": 3}.get(role, 1)
        yield "threshold", "all and one", keys + 1, "format"
        if role in ("root", "targets"):
            yield "threshold", 1, 1, "ok"
            yield "threshold", "all", 3, "ok" if role == "root" else "signature"

    def sums(self):
        """Of hashes and lengths: what the files below it then are not."""
        below = "meta" in self.p or self.p[:2] == ["targets", "operators.json"]
        wrong = {"mismatch"} if below else {"ok"}
        if self.last == "sha256":
            turned = self.v[1:] + self.v[0]
            yield "swap", "hash", turned, wrong
            yield "swap", "zeros", "0" * 64, wrong
            for bad in (self.v[:-1], self.v[:-2], self.v + "00", "g" + self.v[1:], self.v * 2, "sha256:" + self.v):
                yield "wrong type", bad[:6], bad, "format"
        else:
            for n in (-1, Raw("-0"), Raw("1e2"), Raw("%d.0" % self.v), Raw(str(2**53 + 1))):
                yield "version", n, n, "format"
            yield "extend", "length", self.v + 1, wrong
            yield "truncate", "length", self.v - 1, wrong
            yield "version", "max", 2**53, "format" if "meta" in self.p else wrong

    def hostile(self):
        path, last = self.path, self.last
        board = self.custom and "compatible" in self.p and last == "*"
        if last in ("name", "arch") or board or self.of and path.endswith("verbs.*"):
            yield from (("hostile name", s, s, "format") for s in HOSTILE + ["x/y"])
        elif path.endswith("paths.*"):
            yield from (("hostile name", s, s, "format") for s in HOSTILE + ["[a-z]", "x\\*", "{a,b}", "x/*/../y"])
        elif self.custom and (last == "release" or "from" in self.p and last == "*"):
            yield from (("hostile name", s, s + "/1", "format") for s in HOSTILE)
            yield from (("hostile name", s, "x/" + s, "format") for s in HOSTILE)
        elif last == "min_agent":
            odd = ["1", "1.0", "1.0.0.0", "1.0.0-rc1", "01.0.0", "-1.0.0", "1.0.65536"]
            yield from (("hostile name", s, s, "format") for s in HOSTILE + odd)
        elif last == "kind":
            yield from (("swap role", s, s, "format") for s in ("firmware", "System", "system " , "systems"))
