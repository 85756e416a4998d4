"""Ed25519 (RFC 8032), written from its formulas, for signing test data. It is not for secrets: its time depends on them."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def _recover_x(y, sign):
    """The x of a point, or None (section 5.1.3)."""
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _add(p, q):
    """Points in extended coordinates (section 5.1.4)."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * D * p[3] * q[3] % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


ZERO = (0, 1, 1, 0)
_Y = 4 * pow(5, -1, P) % P
_X = _recover_x(_Y, 0)
BASE = (_X, _Y, 1, _X * _Y % P)


def _table():
    """For each of 64 digits of a scalar, its 16 multiples of the base point: (y - x, y + x, 2dxy)."""
    rows, power = [], BASE
    for _ in range(64):
        row, point = [], ZERO
        for _ in range(16):
            z = pow(point[2], -1, P)
            x, y = point[0] * z % P, point[1] * z % P
            row.append(((y - x) % P, (y + x) % P, 2 * D * x * y % P))
            point = _add(point, power)
        rows.append(row)
        power = point  # 16 times
    return rows


_TABLE = _table()


def _times_base(n):
    x, y, z, t = ZERO
    for row in _TABLE:
        m, p, k = row[n & 15]
        n >>= 4
        a = (y - x) * m % P
        b = (y + x) * p % P
        c = t * k % P
        e, f, g, h = b - a, 2 * z - c, 2 * z + c, b + a
        x, y, z, t = e * f % P, g * h % P, f * g % P, e * h % P
    return (x, y, z, t)


def _encode(p):
    z = pow(p[2], -1, P)
    x, y = p[0] * z % P, p[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


class Key:
    """A private key whose seed is the SHA-256 of a name."""

    def __init__(self, name, seed=None):
        h = hashlib.sha512(seed or hashlib.sha256(name.encode()).digest()).digest()
        self.name = name
        self.scalar = int.from_bytes(h[:32], "little") & ((1 << 254) - 8) | 1 << 254
        self.prefix = h[32:]
        self.public = _encode(_times_base(self.scalar))

    def sign(self, message):
        def number(*parts):
            return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L

        r = number(self.prefix, message)
        start = _encode(_times_base(r))
        s = (r + number(start, self.public, message) * self.scalar) % L
        return start + s.to_bytes(32, "little")


def weak():
    """Every encoding of a point of small order, canonical or not: keys for which anybody can sign."""
    points = set()
    y = 2
    while len(points) < 8:
        x = _recover_x(y, 0)
        y += 1
        if x is None:
            continue
        point, torsion = (x, y - 1, 1, x * (y - 1) % P), ZERO
        for bit in bin(L)[2:]:
            torsion = _add(torsion, torsion)
            if bit == "1":
                torsion = _add(torsion, point)
        multiple = ZERO
        for _ in range(8):
            multiple = _add(multiple, torsion)
            points.add(_encode(multiple))
    found = set()
    for p in points:
        n = int.from_bytes(p, "little")
        y = n & (1 << 255) - 1
        for other in (y, y + P):
            for sign in (0, 1):
                if other < 1 << 255:
                    found.add((other | sign << 255).to_bytes(32, "little"))
    return sorted(found)


def check():
    """RFC 8032, section 7.1, tests 1 and 2."""
    one = Key("", bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert one.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert one.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    two = Key("", bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert two.sign(b"\x72").hex().endswith("085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
