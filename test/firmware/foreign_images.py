"""Makes and checks signed MCUboot images, from the documents of that format and on the cryptography of others.

It shares no line with the project's own maker and follows what `imgtool sign` writes: the address of --rom-fixed in the
header with its flag, the payload as long as it is, the security counter before custom TLVs, then SHA-256, key hash and
signature, and with --pad the trailer of a slot with its magic.

  foreign_images.py key KEY.pem
  foreign_images.py dump IN OUT.yaml
  foreign_images.py make KEY.pem IN OUT VERSION COUNTER ADDRESS BOARD [SLOT_SIZE]
  foreign_images.py check KEY.pem IN
"""

import hashlib
import json
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

HEADER = struct.Struct("<IIHHIIBBHII")
IMAGE = 0x96F3B83D
ROM_FIXED = 0x100
PROTECTED, OPEN = 0x6908, 0x6907
SHA256, KEY_HASH, ED25519, SECURITY_COUNTER, BOARD = 0x10, 0x01, 0x24, 0x50, 0xA1
TRAILER_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")


def record(kind, value):
    return struct.pack("<HH", kind, len(value)) + value


def area(magic, records):
    body = b"".join(records)
    return struct.pack("<HH", magic, len(body) + 4) + body


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make(key, payload, version, counter, address, board, slot_size):
    protected = area(PROTECTED, [record(SECURITY_COUNTER, struct.pack("<I", counter)), record(BOARD, board.encode())])
    major, minor, revision = version
    header = HEADER.pack(
        IMAGE, address, 0x200, len(protected), len(payload), ROM_FIXED, major, minor, revision, 0, 0
    ).ljust(0x200, b"\0")
    signed = header + payload + protected
    digest = hashlib.sha256(signed).digest()
    key_hash = hashlib.sha256(spki(key)).digest()
    image = signed + area(OPEN, [record(SHA256, digest), record(KEY_HASH, key_hash), record(ED25519, key.sign(digest))])
    return image if slot_size == 0 else image.ljust(slot_size - len(TRAILER_MAGIC), b"\xff") + TRAILER_MAGIC


def records(image, at, magic):
    said, size = struct.unpack_from("<HH", image, at)
    if said != magic:
        raise SystemExit("no area %#x at byte %d" % (magic, at))
    found, place = {}, at + 4
    while place < at + size:
        kind, length = struct.unpack_from("<HH", image, place)
        found[kind] = image[place + 4 : place + 4 + length]
        place += 4 + length
    return found, at + size


def check(key, image):
    magic, _, header_size, protected_size, size = HEADER.unpack_from(image)[:5]
    if magic != IMAGE:
        raise SystemExit("no image")
    end = header_size + size
    if protected_size:
        _, end = records(image, end, PROTECTED)
    said, _ = records(image, end, OPEN)
    digest = hashlib.sha256(image[:end]).digest()
    if said[SHA256] != digest or said[KEY_HASH] != hashlib.sha256(spki(key)).digest():
        raise SystemExit("another digest or key")
    try:
        key.public_key().verify(said[ED25519], digest)
    except InvalidSignature:
        raise SystemExit("another signature")


def new_key(path):
    with open(path, "wb") as file:
        file.write(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def dump(source, target):
    with open(source, "rb") as file:
        image = file.read()
    header = HEADER.unpack_from(image)
    said, _ = records(image, header[2] + header[4], PROTECTED)
    tlvs = [{"type": kind, "data": value.hex()} for kind, value in said.items()]
    facts = {
        "header": {"version": "%d.%d.%d+%d" % header[6:10], "hdr_size": header[2], "img_size": header[4]},
        "tlv_area": {"tlvs_prot": tlvs},
    }
    with open(target, "w") as file:
        json.dump(facts, file)


def sign_or_check(what, key_file, source, *rest):
    with open(key_file, "rb") as file:
        key = load_pem_private_key(file.read(), password=None)
    with open(source, "rb") as file:
        content = file.read()
    if what == "check":
        check(key, content)
        return
    target, version, counter, address, board, *slot = rest
    numbers = tuple(int(part) for part in version.split("."))
    image = make(key, content, numbers, int(counter), int(address, 0), board, int(slot[0]) if slot else 0)
    with open(target, "wb") as file:
        file.write(image)


def main(what, *rest):
    if what == "key":
        new_key(*rest)
    elif what == "dump":
        dump(*rest)
    else:
        sign_or_check(what, *rest)


main(*sys.argv[1:])
