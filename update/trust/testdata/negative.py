"""Spoils a repository in every way that is known to have broken somebody, and says what a device must make of it.

Prints JSON, one value a line: a header, then meanings and cases in the order in which they are needed. A case has a class
(c), the file (f) and place (p) that was changed, what was done (d), how it is signed (k), the repository it belongs to (w),
the device's state before (s), the files that are others (x: base64; or [n], the first n bytes; or [n, bit], a bit of a
byte), which outcomes are right (want) and, where one of them is "ok", what it must mean (m). Every run prints the same.
"""

import copy

import ed25519
from places import ROOT, Suite, replaced
from repository import IDS, KEYS, Pairs, Repository, SIGNERS, canonical, encode, envelope, key_object, root, target, text
from rules import HOSTILE, WRONG


class Whole(Suite):
    """Files as a whole: their bytes, their envelopes, who signs, which file stands where."""

    def bytes(self):
        for f in ("root", "timestamp", "snapshot", "targets", "content", "operators"):
            name = {"root": ROOT, "timestamp": "timestamp.json", "operators": "operators.json"}.get(f, "11.%s.json" % f)
            for w in "V" if f in ("root", "operators") else "VH":
                self.cut(f, name, w, self.files[w][name])

    def cut(self, f, name, w, raw):
        hashed = w == "H" and f != "timestamp" or f == "operators"
        stray = "mismatch" if hashed else "format"
        for n in range(len(raw)):
            whole = raw[n:].strip() == b""
            self.case("truncate", f, [], n, "raw", w, {name: [n]}, "ok" if whole and not hashed else stray)
        end = len(raw) if f == "operators" else raw.rindex(b'"signatures"')
        for n in range(len(raw)):
            if w == "H" and n % 4:
                continue
            bit = self.random.randrange(8)
            want = {"format", "signature"}
            if f == "root" and n > end:
                want.add("ok")  # one of four signatures, and three are enough
            self.case("bit flip", f, [], n, "raw", w, {name: [n, bit]}, "mismatch" if hashed else want)
        dirt = [b"\x00", b"\x1a", b"\xef\xbb\xbf", b"x", b"{}", b"0", b",", b"}", b"]", b"//", raw]
        for more in [b" ", b"\n\t\r ", b" " * 70000] + dirt:
            blank = more.strip(b" \n\t\r") == b"" and not (len(more) > 9 and f in ("root", "timestamp"))
            self.case("extend", f, [], repr(more[:9]), "raw", w, {name: raw + more},
                stray if hashed or not blank else "ok")
            if more != raw:
                self.case("extend", f, [], "before " + repr(more[:9]), "raw", w, {name: more + raw},
                    stray if hashed or not blank else "ok")
        deep = [b"[" * 5000, b'{"a":' * 5000, b'{"signed":' * 40]
        for body in [b"", b"null", b"{}", b"[]", b'""', b"0", b"true", b"{", b"\xff\xfe{}"] + deep:
            self.case("empty", f, [], repr(body[:12]), "raw", w, {name: body}, stray)
        if f == "operators":
            for n in range(len(raw)):
                self.case("truncate", f, [], n, "signed", w, self.new[w].with_operators(raw[:n])[0], "format")

    def all_envelopes(self):
        for f in SIGNERS:
            for w in ("V", "H"):
                if w == "V" or f != "root":
                    self.envelope(f, w)

    def envelope(self, f, w):
        good = envelope(self.doc(f, w), SIGNERS[f])
        indent = 1 if f in ("root", "targets") else None
        signatures = good["signatures"]
        spare = "ok" if f == "root" else "signature"

        def put(c, p, d, whole, want):
            raw = encode(whole, indent)
            x = {ROOT: raw} if f == "root" else self.new[w].changed(f, raw)
            self.case(c, f, p, d, "raw", w, x, want)

        for member in ("signed", "signatures"):
            value = good[member]
            put("delete", [member], "", replaced(good, [member], None, delete=True), "format")
            put("null", [member], "", dict(good, **{member: None}), "format")
            put("empty", [member], "", dict(good, **{member: type(value)()}), "signature")
            for bad in WRONG[type(value)]:
                put("wrong type", [member], text(bad), dict(good, **{member: bad}), "format")
            put("duplicate", [member], "same", replaced(good, [member], [(member, value)] * 2, members=True), "format")
            put("duplicate", [member], "empty", replaced(good, [member], [(member, type(value)()), (member, value)],
                members=True), "format")
            put("case", [member], "", replaced(good, [member], [(member.title(), value)], members=True), "format")
            put("case", [member], "both", replaced(good, [member], [(member, value), (member.upper(), value)],
                members=True), "format")
        put("reorder", [], "", Pairs(list(good.items())[::-1]), "ok")
        put("reorder", ["signatures"], "", dict(good, signatures=signatures[::-1]), "ok")
        put("extra", [], "x-new", dict(good, **{"x-new": [None, {"signed": 1}]}), "ok")
        for i, entry in enumerate(signatures):
            self.signature(f, put, good, i, entry, spare)
        message = canonical(self.doc(f, w)).encode()
        for name in "stranger r1 ts sn ta tb co".split():
            if name in SIGNERS[f].split():
                continue
            strange = {"keyid": IDS[name], "sig": KEYS[name].sign(message).hex()}
            put("wrong key", ["signatures"], "also " + name, dict(good, signatures=[strange] + signatures), "ok")
            put("wrong key", ["signatures"], "only " + name, dict(good, signatures=[strange]), "signature")
            for i, entry in enumerate(signatures[:2]):  # signed by another, and said to be by the right one
                put("wrong key", ["signatures"], name, replaced(good, ["signatures", i, "sig"], strange["sig"]), spare)
        many = [{"keyid": "%064x" % i, "sig": "00" * 64} for i in range(70)]
        put("extra", ["signatures"], "60 more", dict(good, signatures=many[:60] + signatures), "ok")
        put("extra", ["signatures"], "70 more", dict(good, signatures=many + signatures), "format")

    def signature(self, f, put, good, i, entry, spare):
        signatures = good["signatures"]
        at = ["signatures", i]
        put("delete", at, "", dict(good, signatures=signatures[:i] + signatures[i + 1:]), spare)
        put("null", at, "", replaced(good, at, None), "format")
        put("empty", at, "", replaced(good, at, {}), spare)
        put("same key", at, "twice", dict(good, signatures=signatures + [entry]), "format")
        put("same key", at, "twice, one broken", dict(good, signatures=signatures + [dict(entry, sig="00" * 64)]),
            "format")
        put("same key", at, "under another id", dict(good, signatures=signatures[:i] + [dict(entry,
            keyid="alias")] + signatures[i + 1:]), spare)
        put("extra", at, "x-new", replaced(good, at, dict(entry, **{"x-new": [1]})), "ok")
        for member in ("keyid", "sig"):
            here = at + [member]
            value = entry[member]
            put("delete", here, "", replaced(good, here, None, delete=True), spare)
            put("null", here, "", replaced(good, here, None), "format")
            put("empty", here, "", replaced(good, here, ""), spare)
            for bad in WRONG[str]:
                put("wrong type", here, text(bad), replaced(good, here, bad), "format")
            put("duplicate", here, "", replaced(good, here, [(member, value)] * 2, members=True), "format")
            put("case", here, "name", replaced(good, here, [(member.title(), value)], members=True), "format")
            put("case", here, "value", replaced(good, here, value.upper()), spare)
            for d, bad in (("short", value[:-2]), ("long", value + "00"), ("odd", value[:-1]), ("no digit",
                "g" + value[1:]),
                           ("space", value[:-1] + " "), ("0x", "0x" + value[2:]), ("huge", value * 90), ("other",
                               value[::-1])):
                put("wrong type", here, d, replaced(good, here, bad), spare)
        for bit in range(0, 512, 8):
            sig = bytearray(bytes.fromhex(entry["sig"]))
            sig[bit // 8] ^= 1 << bit // 8 % 8
            put("bit flip", at + ["sig"], bit, replaced(good, at + ["sig"], sig.hex()), spare)
        # The same point with S + L instead of S: RFC 8032, 5.1.7, wants S below L.
        s = int.from_bytes(bytes.fromhex(entry["sig"])[32:], "little") + ed25519.L
        put("same key", at + ["sig"], "S beyond L", replaced(good, at + ["sig"], entry["sig"][:64] + s.to_bytes(32,
            "little").hex()), spare)

    def swaps(self):
        """Files in place of others: of other releases, of other roles."""
        for w in ("V", "H"):
            new, other = self.new[w], self.next[w]
            for f in Repository.order:
                name = new.name(f)
                for n, r in (("before", Repository(1, w == "H")), ("after", other)):
                    raw = r.files[r.name(f)]
                    want = "mismatch"
                    if f == "timestamp":
                        want = "ok" if n == "before" else "notfound"
                    elif w == "V" and f == "targets" and n == "before":
                        want = "signature"  # by a key that was taken away since
                    means = {} if f == "timestamp" and n == "before" else None
                    if f == "timestamp" and n == "before":
                        want = {"signature",
                            "notfound"}  # it is the one that is kept; its targets are not there any more
                    self.case("swap", f, [], n, "raw", w, {name: raw}, want, means)
                for g in Repository.order + ["root", "operators"]:
                    if g == f:
                        continue
                    raw = self.files[w][{"root": ROOT, "operators": "operators.json"}.get(g) or new.name(g)]
                    want = "format" if g == "operators" else "signature"
                    self.case("swap role", f, [], g, "raw", w, {name: raw},
                        "mismatch" if w == "H" and f != "timestamp" else want)
                    if g != "operators":
                        kind = "mismatch" if {f, g} == {"targets", "content"} else "type"
                        doc = dict(self.doc(g, w))
                        for version in (doc["version"], 11):
                            doc["version"] = version
                            self.case("swap role", f, [], "%s by the keys of %s" % (g, f), "signed", w, new.signed(f,
                                doc),
                                      "ok" if kind == "mismatch" else kind, self.crossed(f, g, new))
                self.case("delete", f, [], "the file", "raw", w, {name: b""},
                    "mismatch" if w == "H" and f != "timestamp" else "format")
        for g in Repository.order:
            doc = self.doc(g)
            self.case("swap role", "root", [], g, "signed", "V", {ROOT: encode(envelope(dict(doc, version=2),
                SIGNERS["root"]), 1)}, "type")
            self.case("swap role", "root", [], g, "raw", "V", {ROOT: self.files["V"][self.new["V"].name(g)]},
                "signature")
        self.case("swap", "root", [], "before", "raw", "V", {ROOT: self.root1}, "rollback")
        for bad in ("r1 r2", "r1 r4", "r2 r4", "r3 r4", "r1 r3", "r4", "", "r1", "stranger co ts sn ta tb", "r1 r2 r3",
            "r2 r3 r4"):
            # Two of r1 r2 r3 and two of r1 r2 r4 are wanted.
            ok = sum(k in "r1 r2 r3" for k in bad.split()) > 1 and sum(k in "r1 r2 r4".split() for k in bad.split()) > 1
            self.case("revoked key", "root", ["signatures"], bad, "signed", "V", {ROOT: encode(envelope(root(2), bad),
                1)},
                      "ok" if ok else "signature")

    def crossed(self, f, g, new):
        """What it means when one of targets and content has the other's text, signed by its own keys."""
        docs = dict(new.docs)
        if {f, g} != {"targets", "content"}:
            return None
        docs[f] = docs[g]
        return self.mean(docs["targets"], docs["content"], new.operators)

    def keys(self):
        """Who signs: keys that were taken away, one key for two, other roles' keys."""
        new = self.new["V"]
        doc = new.docs["targets"]
        for by in ("ta tb", "ta tc", "ta", "tb", "tc", "td", "ta co", "r1 r2", "sn ts", "co stranger"):
            self.case("revoked key" if "ta" in by else "wrong key", "targets", ["signatures"], by, "signed", "V",
                      new.changed("targets", encode(envelope(doc, by), 1)), "signature")
        for by in ("tb td", "tc td", "tb tc td", "ta tb tc"):
            self.case("revoked key", "targets", ["signatures"], by, "signed", "V", new.changed("targets",
                encode(envelope(doc, by), 1)), "ok")
        # One key under two ids, in root and in a delegation.
        for role, key in (("root", "r1"), ("targets", "tb"), ("timestamp", "ts"), ("snapshot", "sn")):
            r = root(2)
            r["keys"]["alias"] = key_object(KEYS[key])
            for threshold in (1, 2):
                for ids in (["alias"], [IDS[key], "alias"], ["alias", "alias"]):
                    q = copy.deepcopy(r)
                    q["roles"][role] = {"keyids": ids, "threshold": threshold}
                    # Enough keys, each named once: the file is signed under the first id.
                    fine = threshold == 1 and IDS[key] in ids
                    want = "ok" if fine else "format" if threshold == 2 or len(set(ids)) < len(ids) else "signature"
                    self.case("same key", "root", ["roles", role], "%s, %d" % (",".join(i[:5] for i in ids),
                        threshold), "signed", "V",
                              {ROOT: encode(envelope(q, SIGNERS["root"]), 1)}, want)
        r = root(2)
        r["keys"]["alias"] = key_object(KEYS["tb"])
        r["roles"]["targets"]["keyids"].append("alias")
        whole = envelope(doc, "tb")
        whole["signatures"].append(dict(whole["signatures"][0], keyid="alias"))
        x = dict(new.changed("targets", encode(whole, 1)), **{ROOT: encode(envelope(r, SIGNERS["root"]), 1)})
        self.case("same key", "root", ["roles", "targets"], "two ids, two signatures", "signed", "V", x, "signature")
        for a, b in (("timestamp", "snapshot"), ("targets", "snapshot"), ("root", "targets"), ("timestamp", "targets")):
            q = root(2)
            q["roles"][a], q["roles"][b] = q["roles"][b], q["roles"][a]
            self.case("swap role", "root", ["roles"], a + " and " + b, "signed", "V", {ROOT: encode(envelope(q,
                SIGNERS["root"]), 1)}, "signature")
        d = copy.deepcopy(doc)
        d["delegations"]["keys"]["alias"] = key_object(KEYS["co"])
        d["delegations"]["roles"][0].update(keyids=[IDS["co"], "alias"], threshold=2)
        self.resigned("same key", "targets", ["delegations"], "two ids for two", d, "format", "V")
        d["delegations"]["roles"][0].update(threshold=1)
        self.resigned("same key", "targets", ["delegations"], "two ids for one", d, "ok", "V")

    def names(self):
        """Names of targets, roles and files that could mislead; files, roles and members that nobody asked for."""
        new = self.new["V"]
        for s in HOSTILE + ["", "*", "?", "[x]", "x*", "x?"]:
            for f in ("targets", "content"):
                d = copy.deepcopy(new.docs[f])
                d["targets"][s] = target("x")
                self.resigned("hostile name", f, ["targets"], s, d, "format", "V")
            d = copy.deepcopy(new.docs["snapshot"])
            d["meta"][s + ".json"] = {"version": 1}
            self.resigned("hostile name", "snapshot", ["meta"], s, d, "format", "V")
        for s in ["root", "timestamp", "snapshot", "targets", "", "content"]:
            d = copy.deepcopy(new.docs["targets"])
            d["delegations"]["roles"].append(dict(d["delegations"]["roles"][0], name=s))
            self.resigned("hostile name", "targets", ["delegations", "roles"], s, d, "format", "V")
        for s in ("content.json.json", "targets", "targets.JSON", "targets.json ", ".json"):
            d = copy.deepcopy(new.docs["snapshot"])
            d["meta"][s] = {"version": 1}
            self.resigned("extra", "snapshot", ["meta"], s, d, "ok" if s == "content.json.json" else "format", "V")
        d = copy.deepcopy(new.docs["timestamp"])
        d["meta"]["targets.json"] = {"version": 11}
        self.resigned("extra", "timestamp", ["meta"], "targets.json", d, "format", "V")
        d = root(2)
        d["roles"]["mirrors"] = {"keyids": [], "threshold": 0}
        self.resigned("extra", "root", ["roles"], "mirrors", d, "ok", "V")
        for name in ("12.timestamp.json", "12.snapshot.json", "1.root.json", "4.root.json", "mirrors.json",
            "11.evil.json", "../x"):
            self.case("extra", "targets", [], name, "raw", "V", {name: b"{}"}, "ok")
        # What a delegated role may not say, and names it has no part in.
        for kind in ("system", None, "agent"):
            d = copy.deepcopy(new.docs["content"])
            name = "agent/armv7.json" if kind == "agent" else "channel/stable.json"
            custom = copy.deepcopy(new.docs["targets"]["targets"][name]["custom"])
            if kind:
                custom["kind"] = kind
            d["targets"]["content/rules.json"] = target("x", custom)
            self.resigned("swap role", "content", ["targets"], "kind %s" % kind, d, "type", "V")
        d = copy.deepcopy(new.docs["content"])
        for name in ("gateway/9.9.json", "gateway/2.0.json", "operators.json", "content", "content/a/b/c"):
            d["targets"][name] = target("evil")
        self.resigned("swap role", "content", ["targets"], "names of others", d, "ok", "V")
        for f in ("timestamp", "snapshot"):  # what is asked for is there, and it is the wrong one
            for key, v in (("snapshot.json", 12), ("snapshot.json", 2**53)) if f == "timestamp" else (("targets.json",
                12), ("content.json", 12)):
                d = copy.deepcopy(new.docs[f])
                d["meta"][key]["version"] = v
                x = new.signed(f, d)
                x["%d.%s" % (v, key)] = new.files["11." + key]
                self.case("version", f, ["meta", key], "%d, which is 11" % v, "signed", "V", x, "mismatch")

    def run(self):
        self.header()
        self.fields()
        self.all_envelopes()
        self.swaps()
        self.keys()
        self.names()
        self.bytes()


if __name__ == "__main__":
    ed25519.check()
    Whole().run()
